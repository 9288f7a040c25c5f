"""Stochastic depth, image by image."""

import pytest
import torch
from torch import nn

from striate.layers.drop_path import DropPath


def test_evaluation_and_p_zero_change_nothing():
    maps = torch.randn(4, 2, 3, 3)
    assert DropPath(0.7).eval()(maps) is maps
    assert DropPath(0.0).train()(maps) is maps


def test_whole_images_are_dropped_and_the_others_scaled():
    torch.manual_seed(0)
    dropped = DropPath(0.25).train()(torch.ones(20_000, 1, 2))
    factors = dropped[:, 0, 0]
    assert torch.equal(dropped, factors[:, None, None].expand_as(dropped))
    assert torch.allclose(factors[factors != 0], torch.tensor(4 / 3))
    assert factors.mean() == pytest.approx(1, abs=0.015)  # four standard errors


def test_everything_is_dropped_at_p_one():
    assert not DropPath(1.0).train()(torch.ones(3, 2)).any()


def test_it_counts_as_dropout_for_tools_that_look_for_it():
    assert isinstance(DropPath(0.5), nn.modules.dropout._DropoutNd)
    with pytest.raises(ValueError, match="between 0 and 1"):
        DropPath(1.5)
