"""What residual networks share: shortcuts, bottlenecks, stages, on paper."""

import torch
from torch import nn

from striate.layers.residual import (
    Bottleneck,
    PadShortcut,
    bottleneck,
    bottleneck_v1,
    make_stage,
    pad_shortcut,
    projection,
)


def test_pad_shortcut_on_paper() -> None:
    maps = torch.arange(12.0).reshape(1, 1, 3, 4)
    padded = PadShortcut(extra_channels=3, stride=2)(maps)
    picked = torch.tensor([[0.0, 2.0], [8.0, 10.0]])
    assert torch.equal(padded, torch.stack([torch.zeros(2, 2), picked, torch.zeros(2, 2), torch.zeros(2, 2)])[None])


def test_shortcuts_are_only_where_shapes_change() -> None:
    for make_shortcut in (projection, pad_shortcut):
        assert make_shortcut(8, 8, 1) is None
        for out_channels, stride, size in ((8, 2, 3), (12, 1, 5), (12, 2, 3)):
            shortcut = make_shortcut(8, out_channels, stride)
            assert shortcut is not None
            assert shortcut(torch.zeros(2, 8, 5, 5)).shape == (2, out_channels, size, size)


def test_bottlenecks_differ_in_the_place_of_their_stride() -> None:
    late, early = bottleneck(8, 16, 2), bottleneck_v1(8, 16, 2)
    assert [conv.stride for conv in (late.conv1, late.conv2, late.conv3)] == [(1, 1), (2, 2), (1, 1)]
    assert [conv.stride for conv in (early.conv1, early.conv2, early.conv3)] == [(2, 2), (1, 1), (1, 1)]
    for block in (late, early):
        assert [conv.out_channels for conv in (block.conv1, block.conv2, block.conv3)] == [4, 4, 16]
        assert block(torch.zeros(2, 8, 6, 6)).shape == (2, 16, 3, 3)


def test_wide_and_grouped_bottlenecks() -> None:
    block = bottleneck(16, 16, 1, width=12, groups=3)
    assert block.conv2.weight.shape == (12, 4, 3, 3)
    assert block.downsample is None


def test_bottleneck_without_its_last_weights_is_its_shortcut_rectified() -> None:
    block = bottleneck(2, 2, 1, width=3).eval()
    nn.init.zeros_(block.conv3.weight)
    maps = torch.tensor([-1.0, 2.0]).reshape(1, 2, 1, 1)
    assert torch.equal(block(maps).flatten(), torch.tensor([0.0, 2.0]))


def test_a_stage_strides_and_widens_once() -> None:
    stage = make_stage(bottleneck, 8, 16, depth=3, stride=2)
    assert [isinstance(block, Bottleneck) and block.downsample is not None for block in stage] == [True, False, False]
    assert stage(torch.zeros(2, 8, 7, 6)).shape == (2, 16, 4, 3)
