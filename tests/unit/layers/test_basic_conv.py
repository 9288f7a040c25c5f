"""Convolution, norm and ReLU in a row."""

import pytest
import torch
from torch import nn

from striate.layers.basic_conv import BasicConv


@pytest.mark.parametrize(
    ("kernel_size", "stride", "is_padded", "expected"),
    [
        (1, 1, True, (9, 8)),
        (3, 1, True, (9, 8)),
        (3, 2, True, (5, 4)),
        (7, 2, True, (5, 4)),
        (3, 1, False, (7, 6)),
        (3, 2, False, (4, 3)),
        ((1, 7), 1, True, (9, 8)),
        ((7, 1), 1, False, (3, 8)),
    ],
)
def test_sizes(kernel_size: int | tuple[int, int], stride: int, is_padded: bool, expected: tuple[int, int]) -> None:
    conv = BasicConv(2, 3, kernel_size, stride, is_padded=is_padded)
    assert conv(torch.zeros(2, 2, 9, 8)).shape == (2, 3, *expected)


def test_values_on_paper() -> None:
    """A filter of ones over (1, 2), normalised by mean 1 and deviation 2, rectified."""
    conv = BasicConv(1, 1, (1, 3)).eval()
    nn.init.ones_(conv.conv.weight)
    nn.init.constant_(conv.bn.get_buffer("running_mean"), 1.0)
    nn.init.constant_(conv.bn.get_buffer("running_var"), 4.0 - 1e-3)
    nn.init.zeros_(conv.bn.bias)
    assert conv(torch.tensor([[[[1.0, 2.0, -4.0]]]])).flatten().tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert conv.conv.bias is None
