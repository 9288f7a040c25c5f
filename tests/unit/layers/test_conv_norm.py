"""Convolution, norm and activation as one."""

import torch
from torch import nn

from striate.layers.conv_norm import conv_norm


def test_order_names_and_sizes() -> None:
    layers = conv_norm(4, 6, 5, stride=2, groups=2, activation=nn.Hardswish)
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.Hardswish]
    assert layers[0].weight.shape == (6, 2, 5, 5)
    assert layers[0].bias is None
    assert layers(torch.zeros(2, 4, 7, 8)).shape == (2, 6, 4, 4)


def test_without_activation_nothing_is_cut_off() -> None:
    layers = conv_norm(1, 1, 1, activation=None)
    assert len(layers) == 2
    assert layers(torch.randn(2, 1, 4, 4)).min() < 0
