"""MnasNets: blocks, initialisation and the checks of their configuration."""

import pytest
import torch
import torchvision
from torch import nn

from striate.errors import InputError
from striate.networks.catalogue import build_network
from striate.networks.families.mnasnet import STAGES, InvertedResidual, MnasNetConfig


def test_block_without_weights_is_its_shortcut_and_none_where_sizes_change() -> None:
    maps = torch.randn(1, 8, 4, 4)
    for block, is_kept in ((InvertedResidual(8, 8, STAGES[0], 1), True), (InvertedResidual(8, 8, STAGES[0], 2), False)):
        nn.init.zeros_(block.layers[7].weight)
        assert torch.equal(block.eval()(maps), maps if is_kept else torch.zeros(1, 8, 2, 2))


def test_same_seed_draws_torchvisions_weights_but_for_the_head() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torchvision.models.mnasnet0_5(num_classes=10).state_dict()
    ours = build_network("mnasnet0_5", num_classes=10, seed=0).state_dict()
    assert list(ours) == list(theirs)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == ["classifier.1.weight"]


def test_impossible_configurations_are_refused() -> None:
    with pytest.raises(InputError, match="width must be a finite factor above 0 but is -1"):
        MnasNetConfig(width=-1)
