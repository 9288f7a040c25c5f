"""Xception: separable convolutions, blocks, the check of its configuration."""

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.networks.families.xception import Block, SeparableConv, Xception, XceptionConfig


def test_separable_convolution_on_paper() -> None:
    """Depthwise ones sum 3x3 of each map (4 and 40 in the corner); the pointwise filter takes 1 and 0.5 of them."""
    conv = SeparableConv(2, 1)
    with torch.no_grad():
        conv.depthwise.weight.fill_(1)
        conv.pointwise.weight.copy_(torch.tensor([1.0, 0.5]).reshape(1, 2, 1, 1))
    maps = torch.stack([torch.ones(3, 3), 10 * torch.ones(3, 3)])[None]
    summed = conv(maps)
    assert summed.shape == (1, 1, 3, 3)
    assert (summed[0, 0, 0, 0].item(), summed[0, 0, 1, 1].item()) == (4 + 20, 9 + 45)
    assert sum(param.numel() for param in conv.parameters()) == 2 * 9 + 2


def test_blocks_of_stride_one_add_their_input_and_do_not_rectify() -> None:
    block = Block(2, (2, 2, 2), 1).eval()
    nn.init.zeros_(block.body[-1].weight)
    maps = torch.tensor([-1.0, 2.0]).reshape(1, 2, 1, 1)
    assert block.shortcut is None
    assert torch.equal(block(maps), maps)


def test_blocks_of_stride_two_halve_and_widen() -> None:
    block = Block(2, (3, 5), 2, starts_with_relu=False)
    assert [type(layer).__name__ for layer in block.body] == [
        "SeparableConv", "BatchNorm2d", "ReLU", "SeparableConv", "BatchNorm2d", "MaxPool2d"
    ]  # fmt: skip
    assert block(torch.zeros(2, 2, 7, 8)).shape == (2, 5, 4, 4)


def test_36_convolutions_in_14_modules() -> None:
    """Section 3: 36 convolutional layers in 14 modules, of which all but the first and the last have shortcuts."""
    with torch.device("meta"):
        network = Xception(XceptionConfig())
    separable = [module for module in network.modules() if isinstance(module, SeparableConv)]
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    assert len(separable) + len([network.conv1, network.conv2]) == 36
    assert 2 + len(blocks) == 14


def test_negative_depth_is_refused() -> None:
    with pytest.raises(InputError, match="middle_depth must be at least 0 but is -1"):
        XceptionConfig(middle_depth=-1)
