"""Frozen layers that run once for each view: the same training as behind them, and when it cannot be."""

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from striate.data.augmentation_settings import Augmentation
from striate.data.sampling import epoch_order
from striate.networks.catalogue import build_network, entry_for
from striate.training.frozen.feature_cache import BATCH_SIZE, view_images, with_features
from striate.training.frozen.layer_groups import layer_groups
from striate.training.frozen.trainable_tail import TrainableTail, find_trainable_tail, whole_state
from striate.training.loader import Loader
from striate.training.recipe import OptimizerConfig, Recipe
from striate.training.step import Batch
from training_cases import TinyNet, cpu_fabric, equal_states, tiny_feed, tiny_recipe, train_tiny

CPU = torch.device("cpu")
RECIPE = tiny_recipe(
    freeze="base",
    views=2,
    epochs=5,
    augmentation=Augmentation(crop_scale=(0.5, 1.0), flip=True, shift_px=1, brightness=0.2),
    optimizer=OptimizerConfig("adamw", learning_rate=0.02),
)


@dataclass(frozen=True, eq=False)
class SlowFeed(Loader):
    """The same views of the images themselves, for a base that runs at every step."""

    def train_batches(self, recipe, epoch, device, *, first_batch=0, rank=0, world_size=1):  # noqa: ARG002
        starts = range(0, len(self.train), BATCH_SIZE)
        images = torch.cat([view_images(self, recipe, epoch % recipe.views, start) for start in starts])
        order = epoch_order(self.train, self.labels, seed=recipe.seed, epoch=epoch)
        for start, stop in self.bounds(recipe, world_size)[first_batch:]:
            indices = order[start:stop]
            yield Batch(images[np.searchsorted(self.train, indices)], torch.from_numpy(self.labels[indices]))


class TwoNorms(TinyNet):
    """A batch norm also among the layers that `lower` trains, and maps that the code makes flat by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.bn2 = nn.BatchNorm2d(6)

    def forward(self, images):
        maps = self.relu1(self.bn1(self.conv1(images)))
        maps = self.relu2(self.bn2(self.conv2(maps)))
        return self.fc(self.dropout(maps.flatten(1)))


def quiet_net(kind: type[TinyNet] = TinyNet) -> TinyNet:
    """No dropout, so that both ways see the same numbers."""
    network = kind()
    network.dropout.p = 0.0
    return network


def find(network: nn.Module, images: Tensor, *, head: str = "fc", num_open: int = 1) -> TrainableTail | str:
    return find_trainable_tail(network, layer_groups(network, head=head)[-num_open:], images)


def train_part(run_dir: Path, network: nn.Module, loader: Loader, recipe: Recipe = RECIPE, **arguments):
    num_open = {"base": 1, "lower": 2}[recipe.freeze]
    trainee = find(network, loader.plain_batch(loader.train[:4], CPU).images, num_open=num_open)
    assert not isinstance(trainee, str), trainee

    def make_loader():
        return with_features(loader, recipe, trainee, CPU, autocast_dtype=None)

    return train_tiny(
        run_dir, recipe, network=trainee, loader=loader, head="network.fc", make_loader=make_loader, **arguments
    )


@pytest.mark.parametrize("use_channels_last", [False, True])
@pytest.mark.parametrize(
    ("freeze", "kind", "trained"),
    [
        ("base", TinyNet, ("fc.",)),
        ("lower", TinyNet, ("conv2.", "fc.")),
        ("lower", TwoNorms, ("conv2.", "bn2.", "fc.")),
    ],
)
def test_the_last_layers_learn_what_they_learn_behind_the_others(tmp_path, freeze, kind, trained, use_channels_last):
    recipe = dataclasses.replace(RECIPE, freeze=freeze, use_channels_last=use_channels_last)
    loader = tiny_feed()
    slow, fast = quiet_net(kind), quiet_net(kind)
    before = copy.deepcopy(slow.state_dict())
    slow_feed = SlowFeed(
        loader.packed, loader.annotations, loader.train, loader.validation, loader.preprocessing, loader.task
    )
    train_tiny(tmp_path / "slow", recipe, network=slow, loader=slow_feed, head="fc")
    train_part(tmp_path / "fast", fast, loader, recipe)
    for name, value in slow.state_dict().items():
        # the same sums; the frozen layers saw other batches, which changes the last digits at most
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-4, atol=1e-5)
        assert torch.equal(value, before[name]) != name.startswith(trained), name
    ours, theirs = ((tmp_path / way / "metrics.jsonl").read_text().count("\n") for way in ("fast", "slow"))
    assert ours == theirs == 5


def test_dropout_before_the_head_is_drawn_anew_at_every_step():
    loader, network = tiny_feed(), TinyNet()
    trainee = find(network, loader.plain_batch(loader.train[:4], CPU).images)
    assert isinstance(trainee, TrainableTail)
    assert trainee.tail == ("dropout", "fc")
    trainee.train()
    features = trainee.features(loader.plain_batch(loader.train[:4], CPU).images)
    assert not torch.equal(trainee(features), trainee(features))
    assert network.training


@pytest.mark.parametrize("freeze", ["base", "lower"])
def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, freeze):
    recipe = dataclasses.replace(RECIPE, freeze=freeze)
    loader = tiny_feed()
    whole, stopped, taken_up = TinyNet(), TinyNet(), TinyNet()
    train_part(tmp_path / "whole", whole, loader, recipe)

    class Enough(Exception):
        pass

    def stop(_weights, epoch, _record):
        if epoch == 2:
            raise Enough

    bests = []
    with pytest.raises(Enough):
        train_part(tmp_path / "cut", stopped, loader, recipe, on_best=stop, checkpoint_every_s=0.0)
    nn.init.zeros_(taken_up.conv1.weight)  # the base comes from the checkpoint
    train_part(
        tmp_path / "cut",
        taken_up,
        loader,
        recipe,
        resume=True,
        on_best=lambda weights, _e, _r: bests.append(whole_state(weights)),
    )
    assert equal_states(taken_up, whole)
    assert not bests or bests[-1].keys() == whole.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "num_open", "expected"),
    [
        ("squeezenet1_1", 1, ("classifier.0", "classifier.1", "classifier.2", "classifier.3")),
        ("squeezenet1_1", 2, ("features.10", "features.11", "features.12", "classifier")),
        ("resnet18", 1, ("fc",)),
        ("resnet18", 2, ("layer3.1", "layer4", "avgpool", "fc")),
        ("resnet20_cifar", 1, ("fc",)),
        ("airbench94_cifar", 1, ("head", "scale")),
        ("lenet5", 1, ("fc2",)),
        ("alexnet_small", 1, "its frozen layers are random in training, as with dropout"),
        ("fractalnet20_cifar", 2, "what is trained, from {start} on, is given more than one map"),
        ("nasnet_a_cifar", 2, "what is trained, from {start} on, is given more than one map"),
        ("googlenet", 1, ("dropout", "fc")),
        ("googlenet", 2, "some of what is trained lies beside the chain from {start} on"),
    ],
)
def test_tails_of_the_catalogue(name, num_open, expected):
    entry = entry_for(name)
    network = build_network(name, num_classes=3, seed=0)
    images = torch.randn(2, entry.input_size[0], 32, 32)
    modes = [module.training for module in network.modules()]
    state = torch.get_rng_state()
    found = find(network, images, head=entry.head, num_open=num_open)
    if isinstance(expected, str):
        module = layer_groups(network, head=entry.head)[-num_open].modules[0]
        names = {module: name for name, module in network.named_modules()}
        assert found == expected.format(start=names[module])
    else:
        assert isinstance(found, TrainableTail), found
        assert found.tail == expected
    assert modes == [module.training for module in network.modules()]
    assert torch.equal(state, torch.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


class Squared(TinyNet):
    def forward(self, images):
        return super().forward(images) ** 2


class Twice(TinyNet):
    def forward(self, images):
        return super().forward(images) + super().forward(-images)


class FunctionalDropout(TinyNet):
    def forward(self, images):
        return super().forward(nn.functional.dropout(images, 0.5, self.training))


class DropoutBetween(TwoNorms):
    """Dropout in the code, among the layers that are trained."""

    def forward(self, images):
        maps = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(images))))))
        return self.fc(nn.functional.dropout(maps, 0.5, self.training).flatten(1))


def test_dropout_in_the_code_of_the_trained_layers_is_noticed():
    found = find(DropoutBetween(), torch.randn(4, 1, 8, 8), num_open=2)
    assert found == "what is trained, from conv2 on, is more than a chain of layers in training"


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Squared(), "what is trained, from fc on, is more than a chain of layers"),
        (Twice(), "what is trained, from fc on, runs 2 times"),
        (FunctionalDropout(), "its frozen layers are random in training"),
    ],
)
def test_networks_that_cannot(network, reason):
    found = find(network, torch.randn(4, 1, 8, 8))
    assert isinstance(found, str)
    assert reason in found


def test_checks_work_on_features(tmp_path):
    _, result = train_part(tmp_path, TinyNet(), tiny_feed(), use_checks=True)
    assert [check.passed for check in result.checks] == [True] * 4


def test_features_computed_in_16_bits_are_fed_as_float32(tmp_path):
    loader, network = tiny_feed(), TinyNet()
    trainee = TrainableTail(network, ("dropout", "fc"))
    made = with_features(loader, RECIPE, trainee, CPU, autocast_dtype=torch.bfloat16)
    assert made.views[0].dtype == torch.bfloat16
    assert made.plain_batch(loader.train[:3], CPU).images.dtype == torch.float32
    recipe = dataclasses.replace(RECIPE, precision="bf16-mixed")
    _, result = train_tiny(
        tmp_path, recipe, network=trainee, loader=loader, head="network.fc", use_checks=True,
        fabric=cpu_fabric(precision="bf16-mixed"), make_loader=lambda: made,
    )  # fmt: skip
    assert result.status == "finished"
