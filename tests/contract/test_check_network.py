"""The promises of a network: small networks of the catalogue keep them all; modules made to break one break that
one.
"""

import re
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import striate
from striate.errors import InputError
from striate.inspection.check_network import check_network

SIZE = (3, 12, 13)
NAMES = [
    "logits", "batch independence", "finite", "gradients", "save and load", "copies", "evaluation", "training mode",
    "randomness", "activations", "channels last",
]  # fmt: skip


class Sound(nn.Module):
    """A network that keeps every promise; those below break one each, in `answer`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(6, 4, 3, 2), nn.GELU()
        )
        self.head = nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(self.features(images).mean((2, 3)))

    def answer(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features)
        return logits


class NoRow(Sound):
    def answer(self, features: Tensor) -> Tensor:
        return super().answer(features)[..., None]


class OtherClasses(Sound):
    def answer(self, features: Tensor) -> Tensor:
        logits = super().answer(features)
        return torch.cat([logits, logits[:, :1]], 1) if self.training else logits


class SeesNeighbours(Sound):
    def answer(self, features: Tensor) -> Tensor:
        logits = super().answer(features)
        return logits - logits.mean(0) / 2


class CannotRound(Sound):
    """1 + 1/1000 is 1 in bfloat16, whose logarithm's logarithm is infinite."""

    def answer(self, features: Tensor) -> Tensor:
        logits = super().answer(features)
        return logits + (1.001 + 0 * logits - 1).log()


class Unused(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2)


class Detached(Sound):
    def answer(self, features: Tensor) -> Tensor:
        return super().answer(features.detach())


class KeepsAttribute(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.tensor([1.0])

    def answer(self, features: Tensor) -> Tensor:
        return super().answer(features) + self.shift


class CannotBeCopied(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class SharesWeights(Sound):
    def __deepcopy__(self, memo: object) -> "SharesWeights":
        duplicate = SharesWeights()
        duplicate.head = self.head
        duplicate.features.load_state_dict(self.features.state_dict())
        return duplicate


class StaysInTraining(Sound):
    def train(self, mode: bool = True) -> "StaysInTraining":
        super().train(mode)
        self.features[0].training = True
        return self


class Counts(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def answer(self, features: Tensor) -> Tensor:
        self.count += 1
        return super().answer(features)


class DrawsInEvaluation(Sound):
    def answer(self, features: Tensor) -> Tensor:
        return super().answer(features) + 0 * torch.rand(1)


class DoublesInTraining(Sound):
    def answer(self, features: Tensor) -> Tensor:
        return super().answer(features) * (2 if self.training else 1)


class MovesWeights(Sound):
    def answer(self, features: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.head.bias.copy_(self.head.bias + 0.1)
        return super().answer(features)


class OtherDice(Sound):
    """Random numbers that torch's seed does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.features[3] = OtherDropout()


class OtherDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop_prob = 0.5

    def forward(self, maps: Tensor) -> Tensor:
        kept = np.random.default_rng().random(maps.shape) > self.drop_prob
        return maps * torch.from_numpy(kept) if self.training else maps


class CalledTwice(Sound):
    def answer(self, features: Tensor) -> Tensor:
        return super().answer(self.features[2](features))


class InPlaceModule(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.features[2] = nn.ReLU(inplace=True)


class InPlaceFunction(Sound):
    def answer(self, features: Tensor) -> Tensor:
        return super().answer(features).mul_(2)


class LaidOutOtherwise(Sound):
    """Reads memory instead of pixels."""

    def forward(self, images: Tensor) -> Tensor:
        is_usual = images.is_contiguous()
        return super().forward(images) if is_usual else super().forward(images).flip(1)


def failed(network: nn.Module, **options: object) -> dict[str, str]:
    torch.manual_seed(0)
    results = check_network(network, SIZE, use_export=False, **options)  # type: ignore[arg-type]
    assert [result.name for result in results] == NAMES
    return {result.name: result.detail for result in results if not result.passed}


@pytest.mark.parametrize(
    ("network", "name", "detail"),
    [
        (NoRow, "logits", r"logits \(1, K\) are expected of 1 images but in evaluation mode it answers \(1, 5, 1\) of "
            r"float32"),
        (SeesNeighbours, "batch independence", "the answers of an image alone and beside others differ by up to"),
        (CannotRound, "finite", "the answer is finite in float32 but not under bfloat16 autocast"),
        (Unused, "gradients", "no gradient reaches spare.bias, spare.weight"),
        (Detached, "gradients", "no gradient reaches features.0.bias, features.0.weight, .* and 2 more"),
        (KeepsAttribute, "save and load", "tensors that are neither parameters nor buffers: shift"),
        (CannotBeCopied, "copies", "TypeError: cannot pickle '_thread.lock' object"),
        (SharesWeights, "copies", "a deep copy shares memory with the network: head.weight, head.bias"),
        (StaysInTraining, "evaluation", r"eval\(\) leaves in training mode: features.0"),
        (Counts, "evaluation", "answering in evaluation mode changes count"),
        (DrawsInEvaluation, "evaluation", "answering in evaluation mode draws random numbers"),
        (DoublesInTraining, "training mode", "these answer otherwise in training mode: the network itself"),
        (MovesWeights, "training mode", "answering in training mode changes weights: head.bias"),
        (OtherDice, "randomness", "the answers of two runs in training mode with the same seed differ by up to"),
        (CalledTwice, "activations", r"an activation must be called once, .*: features.2 \(2 times\)"),
        (InPlaceModule, "activations", "works in place on what another layer has made: features.2"),
        (InPlaceFunction, "activations", r"works in place on what another layer has made: \(network\)"),
        (LaidOutOtherwise, "channels last", "the answers to images in channels-last layout and others differ by up to"),
    ],
)  # fmt: skip
def test_a_broken_promise_is_found_and_no_other(network: type[nn.Module], name: str, detail: str) -> None:
    torch.manual_seed(3)
    found = failed(network())
    assert list(found) == [name], found
    assert re.search(detail, found[name]), found


def test_other_classes_in_training_break_two() -> None:
    found = failed(OtherClasses())
    assert found == {
        "logits": "it answers 5 classes in evaluation mode but 6 in training mode",
        "training mode": "the answer is (3, 6) where (3, 5) is expected",
    }


def test_a_sound_network_keeps_all() -> None:
    assert failed(Sound(), num_classes=5) == {}
    assert failed(Sound(), num_classes=4) == {"logits": "4 classes are expected but it answers 5"}


def test_the_network_comes_back_as_it_was() -> None:
    for network in (Sound(), CannotBeCopied()):
        network.features[1].eval()
        network(torch.randn(2, *SIZE)).sum().backward()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        grads = [param.grad.clone() for param in network.parameters() if param.grad is not None]
        places = [param.data_ptr() for param in network.parameters()]
        generator = torch.get_rng_state()
        check_network(network, SIZE, use_export=False)
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
        assert [param.data_ptr() for param in network.parameters()] == places
        assert len(grads) == len(places)
        assert all(torch.equal(grad, param.grad) for grad, param in zip(grads, network.parameters(), strict=True))
        assert [module.training for module in network.features] == [True, False, True, True, True, True]
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
        assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize(
    ("name", "input_size"),
    [("squeezenet1_1", (3, 33, 40)), ("resnet20_cifar", (3, 16, 16)), ("airbench94_cifar", None)],
)
def test_networks_of_the_catalogue_keep_all(name: str, input_size: tuple[int, int, int] | None) -> None:
    results = check_network(name, input_size, use_export=False)
    assert [result for result in results if not result.passed] == []


def test_export_of_the_smallest() -> None:
    results = striate.check_network("lenet5", num_classes=10)
    assert [result.name for result in results] == [*NAMES, "export"]
    assert [result for result in results if not result.passed] == []


class Branches(Sound):
    """Decides by a value, which a program for all images cannot."""

    def answer(self, features: Tensor) -> Tensor:
        return super().answer(features) if features.sum() > 0 else super().answer(-features)


def test_what_cannot_be_exported_is_said() -> None:
    results = check_network(Branches(), SIZE)
    failed_names = [result.name for result in results if not result.passed]
    assert failed_names == ["export"]


def test_what_cannot_answer_gets_one_result() -> None:
    (result,) = check_network(nn.Linear(7, 2), SIZE)
    assert (result.name, result.passed) == ("logits", False)
    assert result.detail.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InputError, match='build without device="meta"'):
        check_network(striate.build_network("lenet5", device="meta"), (1, 32, 32))
    with pytest.raises(InputError, match="a module does not say what it takes; give input_size"):
        check_network(Sound())
    with pytest.raises(InputError, match="lenet5 takes images of 32x32 pixels only but got 28x28"):
        check_network("lenet5", (1, 28, 28))
