"""Deviations of first weights."""

import pytest
import torch
from torch import nn

from striate.layers.initialization import draw_he_normal, draw_truncated_normal


def test_he_normal_has_variance_two_by_fan_in_and_small_heads() -> None:
    torch.manual_seed(0)
    head = nn.Linear(400, 50)
    network = nn.Sequential(
        nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.Conv2d(64, 64, 3, groups=64), nn.Linear(400, 50), head
    )
    draw_he_normal(network, heads=(head,))
    assert network[0].weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.03)
    assert network[2].weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.1)
    assert network[3].weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.03)
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert [network[i].bias.abs().max().item() for i in (0, 2, 3, 4)] == [0.0] * 4


def test_truncated_normal_stays_inside_and_some_layers_have_their_own_deviation() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 64, 3), nn.Linear(400, 50), nn.Linear(50, 50))
    bias = network[1].bias.clone()
    draw_truncated_normal(network, std=0.1, other_stds={network[1]: 2.0})
    assert network[0].weight.std().item() == pytest.approx(0.1, rel=0.03)
    assert network[2].weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert 1.9 < network[1].weight.abs().max().item() <= 2
    assert torch.equal(network[1].bias, bias)
