"""EfficientNets: scaling, blocks and the checks of their configuration."""

import math

import pytest
import torch
import torchvision
from torch import nn

from striate.errors import InputError
from striate.layers.drop_path import DropPath
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.families.efficientnet import (
    STAGES,
    EfficientNet,
    EfficientNetConfig,
    MBConv,
    Stage,
    compound_scaling,
)

NAMES = [f"efficientnet_b{number}" for number in range(8)]


def test_one_step_of_compound_scaling_nearly_doubles_the_work() -> None:
    """Section 3.3: alpha * beta**2 * gamma**2 is about 2, alpha, beta and gamma being 1.2, 1.1 and 1.15."""
    step = compound_scaling(1)
    assert step == (1.2, 1.1, 1.15)
    assert step.depth * step.width**2 * step.resolution**2 == pytest.approx(2, rel=0.05)
    assert compound_scaling(0) == (1, 1, 1)
    assert compound_scaling(2).depth == pytest.approx(1.44)


@pytest.mark.parametrize(
    ("name", "exponent"), [("efficientnet_b1", 0.5), ("efficientnet_b2", 1), ("efficientnet_b3", 2)]
)
def test_first_networks_are_rounded_steps(name: str, exponent: float) -> None:
    """To a tenth, and to a few pixels; B1 keeps the width of B0."""
    scaling, entry = compound_scaling(exponent), CATALOGUE[name]
    assert entry.config.depth == round(scaling.depth, 1)
    assert entry.config.width == (1 if name == "efficientnet_b1" else round(scaling.width, 1))
    assert entry.input_size[1] == pytest.approx(224 * scaling.resolution, rel=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_all_networks_grow_together(name: str) -> None:
    """The authors' factors stay within a seventh of the law, and multiply-adds grow as depth * width**2 * side**2."""
    entry = CATALOGUE[name]
    law = compound_scaling(math.log(entry.config.depth, 1.2))
    side = entry.input_size[1] / 224
    assert entry.config.width == pytest.approx(law.width, rel=1 / 7)
    assert side == pytest.approx(law.resolution, rel=1 / 7)
    growth = entry.config.depth * entry.config.width**2 * side**2
    # depths round up, which doubles a stage of one block at the first step and matters less and less
    surplus = entry.macs / CATALOGUE["efficientnet_b0"].macs / growth
    assert 1 <= surplus < (1.45 if entry.config.depth < 1.5 else 1.15)


def test_depths_round_up_and_drop_path_rises_with_depth() -> None:
    network = build_network("efficientnet_b1", device="meta")
    assert [len(stage) for stage in network.features[1:8]] == [2, 3, 3, 4, 4, 5, 2]
    rates = [module.p for module in network.modules() if isinstance(module, DropPath)]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.2 * 22 / 23)


def test_block_without_weights_is_its_shortcut_and_none_where_sizes_change() -> None:
    stage = Stage(expansion=6, kernel_size=3, stride=1, width=8, depth=1)
    block = MBConv(8, stage, 8, 1, 0.0, EfficientNetConfig()).eval()
    nn.init.zeros_(block.block[3][0].weight)
    maps = torch.randn(1, 8, 3, 3)
    assert torch.equal(block(maps), maps)
    narrower = MBConv(8, stage, 16, 1, 0.0, EfficientNetConfig()).eval()
    nn.init.zeros_(narrower.block[3][0].weight)
    assert not narrower(maps).any()


def test_first_block_does_not_widen() -> None:
    names = [name for name, _ in MBConv(8, STAGES[0], 8, 1, 0.0, EfficientNetConfig()).block.named_children()]
    assert len(names) == 3


def test_same_seed_draws_torchvisions_weights_but_for_the_head() -> None:
    """Initialisation is torchvision's, number by number: the same draws in the same order."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torchvision.models.efficientnet_b0(num_classes=10).state_dict()
    ours = build_network("efficientnet_b0", num_classes=10, seed=0).state_dict()
    assert list(ours) == list(theirs)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == ["classifier.1.weight"]


def test_later_networks_have_the_authors_norms() -> None:
    norms = [m for m in build_network("efficientnet_b5", device="meta").modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(InputError, match="width must be a finite factor above 0 but is 0"):
        EfficientNetConfig(width=0)
    with pytest.raises(InputError, match="depth must be a finite factor above 0 but is inf"):
        EfficientNetConfig(depth=math.inf)
    with pytest.raises(InputError, match="drop_path must be a probability below 1 but is 1"):
        EfficientNetConfig(drop_path=1)
    with pytest.raises(InputError, match="num_classes must be a whole number"):
        EfficientNet(EfficientNetConfig(num_classes=0))
