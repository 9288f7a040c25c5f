"""A frozen base that runs once for each view: the same training as behind the base, and when it cannot be."""

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from striate.data.augmentation import Augmentation
from striate.data.feeding import epoch_order
from striate.networks.catalogue import build_network
from striate.training.feature_feed import BATCH_SIZE, view_images, with_features
from striate.training.feed import Feed
from striate.training.head_only import HeadOnly, find_tail, whole_state
from striate.training.recipe import OptimizerConfig
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
class SlowFeed(Feed):
    """The same views of the images themselves, for a base that runs at every step."""

    def train_batches(self, recipe, epoch, device, *, first_batch=0, rank=0, world_size=1):  # noqa: ARG002
        starts = range(0, len(self.train), BATCH_SIZE)
        images = torch.cat([view_images(self, recipe, epoch % recipe.views, start) for start in starts])
        order = epoch_order(self.train, self.labels, seed=recipe.seed, epoch=epoch)
        for start, stop in self.bounds(recipe, world_size)[first_batch:]:
            indices = order[start:stop]
            yield Batch(images[np.searchsorted(self.train, indices)], torch.from_numpy(self.labels[indices]))


def quiet_net() -> TinyNet:
    """No dropout, so that both ways see the same numbers."""
    network = TinyNet()
    network.dropout.p = 0.0
    return network


def train_head(run_dir: Path, network: nn.Module, feed: Feed, **arguments):
    tail = find_tail(network, "fc", feed.plain_batch(feed.train[:4], CPU).images)
    assert not isinstance(tail, str), tail
    trainee = HeadOnly(network, tail)

    def make_feed():
        return with_features(feed, RECIPE, trainee, CPU, autocast_dtype=None)

    return train_tiny(run_dir, RECIPE, network=trainee, feed=feed, head="network.fc", make_feed=make_feed, **arguments)


def test_the_head_learns_what_it_learns_behind_the_base(tmp_path):
    feed = tiny_feed()
    slow, fast = quiet_net(), quiet_net()
    before = copy.deepcopy(slow.state_dict())
    slow_feed = SlowFeed(feed.packed, feed.labels, feed.train, feed.validation, feed.preprocessing, feed.class_names)
    train_tiny(tmp_path / "slow", RECIPE, network=slow, feed=slow_feed, head="fc")
    train_head(tmp_path / "fast", fast, feed)
    for name, value in slow.state_dict().items():
        # the same sums; the base saw other batches, which changes the last digits at most
        torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-4, atol=1e-5)
        is_head = name.startswith("fc.")
        assert torch.equal(value, before[name]) != is_head
    ours, theirs = ((tmp_path / way / "metrics.jsonl").read_text().count("\n") for way in ("fast", "slow"))
    assert ours == theirs == 5


def test_dropout_before_the_head_is_drawn_anew_at_every_step():
    feed, network = tiny_feed(), TinyNet()
    tail = find_tail(network, "fc", feed.plain_batch(feed.train[:4], CPU).images)
    assert tail == ("dropout", "fc")
    trainee = HeadOnly(network, tail).train()
    features = trainee.features(feed.plain_batch(feed.train[:4], CPU).images)
    assert not torch.equal(trainee(features), trainee(features))
    assert network.training


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path):
    feed = tiny_feed()
    whole, stopped, taken_up = TinyNet(), TinyNet(), TinyNet()
    train_head(tmp_path / "whole", whole, feed)

    class Enough(Exception):
        pass

    def stop(_weights, epoch, _record):
        if epoch == 2:
            raise Enough

    bests = []
    with pytest.raises(Enough):
        train_head(tmp_path / "cut", stopped, feed, on_best=stop, checkpoint_every_s=0.0)
    nn.init.zeros_(taken_up.conv1.weight)  # the base comes from the checkpoint
    train_head(
        tmp_path / "cut",
        taken_up,
        feed,
        resume=True,
        on_best=lambda weights, _e, _r: bests.append(whole_state(weights)),
    )
    assert equal_states(taken_up, whole)
    assert not bests or bests[-1].keys() == whole.state_dict().keys()


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("squeezenet1_1", "classifier.1", ("classifier.0", "classifier.1", "classifier.2", "classifier.3")),
        ("resnet18", "fc", ("fc",)),
        ("resnet20_cifar", "fc", ("fc",)),
        ("airbench94_cifar", "head", ("head", "scale")),
        ("lenet5", "fc2", ("fc2",)),
        ("alexnet_small", None, "its base is random in training, as with dropout"),
    ],
)
def test_tails_of_the_catalogue(name, head, expected):
    network = build_network(name, num_classes=3, seed=0)
    head = head or list(dict(network.named_parameters()))[-1].rpartition(".")[0]
    channels = 1 if name == "lenet5" else 3
    images = torch.randn(2, channels, 32, 32)
    modes = [module.training for module in network.modules()]
    state = torch.get_rng_state()
    assert find_tail(network, head, images) == expected
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


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Squared(), "what follows its head, fc, is more than a chain of layers"),
        (Twice(), "its head, fc, runs 2 times"),
        (FunctionalDropout(), "its base is random in training"),
    ],
)
def test_networks_that_cannot(network, reason):
    found = find_tail(network, "fc", torch.randn(4, 1, 8, 8))
    assert isinstance(found, str)
    assert reason in found


def test_checks_work_on_features(tmp_path):
    _, result = train_head(tmp_path, TinyNet(), tiny_feed(), use_checks=True)
    assert [check.passed for check in result.checks] == [True] * 4


def test_features_computed_in_16_bits_are_fed_as_float32(tmp_path):
    feed, network = tiny_feed(), TinyNet()
    trainee = HeadOnly(network, ("dropout", "fc"))
    made = with_features(feed, RECIPE, trainee, CPU, autocast_dtype=torch.bfloat16)
    assert made.views[0].dtype == torch.bfloat16
    assert made.plain_batch(feed.train[:3], CPU).images.dtype == torch.float32
    recipe = dataclasses.replace(RECIPE, precision="bf16-mixed")
    _, result = train_tiny(
        tmp_path, recipe, network=trainee, feed=feed, head="network.fc", use_checks=True,
        fabric=cpu_fabric(precision="bf16-mixed"), make_feed=lambda: made,
    )  # fmt: skip
    assert result.status == "finished"
