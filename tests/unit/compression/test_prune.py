"""Magnitude pruning by hand."""

import pytest
import torch
from torch import nn

from striate.compression.prune import keep_largest, lamp_scores, prune, sparsity_of
from striate.errors import InputError


def two_layers() -> nn.Sequential:
    """Weights 1..4 and 10..40, signs mixed."""
    network = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Linear(1, 4, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, -2.0, 3.0, -4.0]]))
        network[1].weight.copy_(torch.tensor([[10.0], [-20.0], [30.0], [-40.0]]))
    return network


@pytest.mark.parametrize(
    ("scope", "first", "second"),
    [
        ("layer", [0, 0, 3, -4], [0, 0, 30, -40]),
        ("global", [0, 0, 0, 0], [10, -20, 30, -40]),
        ("lamp", [0, 0, 3, -4], [0, 0, 30, -40]),
    ],
)
def test_half_of_the_weights(scope, first, second):
    network = two_layers()
    prune(network, 0.5, scope=scope)
    assert network[0].weight.flatten().tolist() == first
    assert network[1].weight.flatten().tolist() == second
    assert sparsity_of(network) == 0.5


def test_lamp_by_hand():
    """Squares 1, 4, 9, 16: each divided by the sum of those no smaller."""
    scores = lamp_scores(torch.tensor([[-3.0, 1.0], [4.0, 2.0]]))
    assert scores.flatten().tolist() == pytest.approx([9 / 25, 1 / 30, 1.0, 4 / 29])
    assert lamp_scores(torch.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]


def test_zeros_count_already_and_equal_ones_go_from_the_end():
    assert keep_largest(torch.tensor([0.0, 1.0, 1.0, 0.0]), 0.75).tolist() == [False, True, False, False]
    assert keep_largest(torch.ones(3), 0.0).all()


def test_bad_wishes_are_named():
    with pytest.raises(InputError, match=r"must lie in \[0, 1\) but is 1"):
        prune(two_layers(), 1.0)
    with pytest.raises(InputError, match="one of layer, global, lamp but is 'all'"):
        prune(two_layers(), 0.5, scope="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="nothing to compress"):
        prune(nn.Sequential(nn.ReLU()), 0.5)
