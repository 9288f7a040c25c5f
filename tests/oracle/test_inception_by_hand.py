"""GoogLeNet as in its paper, Inception v2 and Inception-ResNet v1, which no library has: computed again from plain
functions.

Weights are taken by name; strides, padding, pooling and the order of branches stand here anew.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from oracle.test_networks_torchvision import shake_norms
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.catalogue import build_network
from striate.networks.families.inception_resnet import InceptionResNetConfig, inception_resnet_v1

State = dict[str, Tensor]


def assert_equal_but_for_rounding(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * max(1, expected.abs().max().item()))


def biased(state: State, name: str, maps: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.conv.weight"]
    return F.relu(F.conv2d(maps, weight, state[f"{name}.conv.bias"], stride, padding=weight.shape[-1] // 2))


def normed(state: State, name: str, maps: Tensor, stride: int = 1, *, valid: bool = False) -> Tensor:
    """Convolution, batch norm with running statistics and the epsilon 0.001, ReLU."""
    weight = state[f"{name}.conv.weight"]
    padding = (0, 0) if valid else (weight.shape[2] // 2, weight.shape[3] // 2)
    maps = F.conv2d(maps, weight, None, stride, padding)
    mean, var, gain, shift = (state[f"{name}.bn.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
    scale = gain / (var + 1e-3).sqrt()
    return F.relu(maps * scale[:, None, None] + (shift - mean * scale)[:, None, None])


def response_normed(maps: Tensor) -> Tensor:
    """Squares over five neighbouring maps, maps beyond the ends counting as none."""
    squares = F.pad(maps.square(), (0, 0, 0, 0, 2, 2))
    sums = sum(squares[:, i : i + maps.shape[1]] for i in range(5))
    return maps / (1 + 1e-4 / 5 * sums) ** 0.75


def overhanging_max(maps: Tensor) -> Tensor:
    """3x3 at every second place from the first pixel on, as far as a window has two rows and columns inside or more."""
    height, width = (extent // 2 * 2 + 1 for extent in maps.shape[2:])
    padded = F.pad(maps, (0, width - maps.shape[3], 0, height - maps.shape[2]), value=-torch.inf)
    return F.max_pool2d(padded, 3, stride=2)


def googlenet_module(state: State, name: str, maps: Tensor) -> Tensor:
    pooled = F.max_pool2d(maps, 3, stride=1, padding=1)
    return torch.cat(
        [
            biased(state, f"{name}.branch1", maps),
            biased(state, f"{name}.branch2.1", biased(state, f"{name}.branch2.0", maps)),
            biased(state, f"{name}.branch3.1", biased(state, f"{name}.branch3.0", maps)),
            biased(state, f"{name}.branch4.1", pooled),
        ],
        dim=1,
    )


def linear(state: State, name: str, features: Tensor) -> Tensor:
    return features @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def googlenet_head(state: State, name: str, maps: Tensor) -> Tensor:
    averaged = F.avg_pool2d(maps, 5, stride=3)
    features = biased(state, f"{name}.conv", averaged).flatten(1)
    return linear(state, f"{name}.fc2", F.relu(linear(state, f"{name}.fc1", features)))


def test_googlenet_of_the_paper() -> None:
    """In training mode at 224x224, where the auxiliary heads average as the paper has it, without dropout."""
    network = build_network("googlenet_lrn", num_classes=5, seed=0)
    for module in (network.dropout, network.aux1.dropout, network.aux2.dropout):
        module.p = 0.0
    state = network.state_dict()
    images = 3 * torch.randn(1, 3, 224, 230, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = response_normed(overhanging_max(biased(state, "conv1", images, stride=2)))
        maps = response_normed(biased(state, "conv3", biased(state, "conv2", maps)))
        maps = overhanging_max(maps)
        for row in ("3a", "3b"):
            maps = googlenet_module(state, f"inception{row}", maps)
        maps = googlenet_module(state, "inception4a", overhanging_max(maps))
        first = googlenet_head(state, "aux1", maps)
        for row in ("4b", "4c", "4d"):
            maps = googlenet_module(state, f"inception{row}", maps)
        second = googlenet_head(state, "aux2", maps)
        maps = overhanging_max(googlenet_module(state, "inception4e", maps))
        for row in ("5a", "5b"):
            maps = googlenet_module(state, f"inception{row}", maps)
        logits = linear(state, "fc", maps.mean(dim=(2, 3)))
        answer = network(images)
    assert isinstance(answer, WithAuxiliary)
    for found, expected in zip((answer.logits, *answer.auxiliary), (logits, first, second), strict=True):
        assert_equal_but_for_rounding(found, expected)


def average_inside(maps: Tensor) -> Tensor:
    """3x3 means of the pixels that are there."""
    counts = F.avg_pool2d(torch.ones_like(maps[:1, :1]), 3, stride=1, padding=1)
    return F.avg_pool2d(maps, 3, stride=1, padding=1) / counts


def test_inception_v2() -> None:
    network = build_network("inception_v2", num_classes=5, seed=0).eval()
    shake_norms(network)
    state = network.state_dict()
    images = torch.randn(2, 3, 70, 65, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = F.max_pool2d(normed(state, "conv1", images, stride=2), 3, stride=2, padding=1)
        maps = F.max_pool2d(normed(state, "conv3", normed(state, "conv2", maps)), 3, stride=2, padding=1)
        for row in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
            name = f"inception{row}"
            stride = 2 if row in ("3c", "4e") else 1
            first = [] if stride == 2 else [normed(state, f"{name}.branch1", maps)]
            shift = 0 if stride == 2 else 1  # the branches' numbers: rows with stride have no 1x1
            single = normed(state, f"{name}.branch{1 + shift}.0", maps)
            single = normed(state, f"{name}.branch{1 + shift}.1", single, stride)
            double = normed(state, f"{name}.branch{2 + shift}.0", maps)
            double = normed(state, f"{name}.branch{2 + shift}.1", double)
            double = normed(state, f"{name}.branch{2 + shift}.2", double, stride)
            if stride == 2:
                last = F.max_pool2d(maps, 3, stride=2, padding=1)
            elif row == "5b":
                last = normed(state, f"{name}.branch4.1", F.max_pool2d(maps, 3, stride=1, padding=1))
            else:
                last = normed(state, f"{name}.branch4.1", average_inside(maps))
            maps = torch.cat([*first, single, double, last], dim=1)
        assert_equal_but_for_rounding(network(images), linear(state, "fc", maps.mean(dim=(2, 3))))


def in_a_row(state: State, name: str, maps: Tensor, length: int, *, last_stride: int = 1) -> Tensor:
    for number in range(length):
        is_strided = number == length - 1 and last_stride == 2
        maps = normed(state, f"{name}.{number}", maps, last_stride if is_strided else 1, valid=is_strided)
    return maps


def residual(state: State, name: str, maps: Tensor, lengths: tuple[int, ...], scale: float) -> Tensor:
    """Branches of so many convolutions after a first single one, projected with bias, scaled, added, rectified."""
    branches = [normed(state, f"{name}.branches.branch1", maps)]
    for number, length in enumerate(lengths, start=2):
        branches.append(in_a_row(state, f"{name}.branches.branch{number}", maps, length))
    projected = F.conv2d(torch.cat(branches, dim=1), state[f"{name}.project.weight"], state[f"{name}.project.bias"])
    return F.relu(maps + projected * scale)


def test_inception_resnet_v1() -> None:
    torch.manual_seed(0)
    network = inception_resnet_v1(InceptionResNetConfig(num_classes=5, depths=(1, 2, 1))).eval()
    shake_norms(network)
    state = {name.removeprefix("features."): value for name, value in network.state_dict().items()}
    images = torch.randn(2, 3, 110, 80, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = normed(state, "stem.1", normed(state, "stem.0", images, 2, valid=True), valid=True)
        maps = F.max_pool2d(normed(state, "stem.2", maps), 3, stride=2)
        maps = normed(state, "stem.5", normed(state, "stem.4", maps), valid=True)
        maps = normed(state, "stem.6", maps, 2, valid=True)
        maps = residual(state, "residual_a.0", maps, (2, 3), 0.17)
        straight = normed(state, "reduction_a.branch1", maps, 2, valid=True)
        double = in_a_row(state, "reduction_a.branch2", maps, 3, last_stride=2)
        maps = torch.cat([straight, double, F.max_pool2d(maps, 3, stride=2)], dim=1)
        for number in range(2):
            maps = residual(state, f"residual_b.{number}", maps, (3,), 0.10)
        reduced = [
            in_a_row(state, f"reduction_b.branch{number}", maps, length, last_stride=2)
            for number, length in ((1, 2), (2, 2), (3, 3))
        ]
        maps = torch.cat([*reduced, F.max_pool2d(maps, 3, stride=2)], dim=1)
        maps = residual(state, "residual_c.0", maps, (3,), 0.20)
        assert_equal_but_for_rounding(network(images), linear(state, "fc", maps.mean(dim=(2, 3))))
