"""Winograd's transform beside the convolution that it stands for, by number of products and by rounding."""

import pytest
import torch
from torch.nn import functional as F

from striate.errors import InputError
from striate.layers.winograd import transform_error, winograd_conv2d, winograd_products


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(("size", "padding"), [((8, 8), 1), ((5, 7), 1), ((9, 6), 0), ((3, 3), 0), ((1, 1), 1)])
def test_as_the_convolution(tile, size, padding):
    images, weight, bias = torch.randn(2, 3, *size).double(), torch.randn(4, 3, 3, 3).double(), torch.randn(4).double()
    found = winograd_conv2d(images, weight, bias, padding=padding, tile=tile)
    assert torch.allclose(found, F.conv2d(images, weight, bias, padding=padding), atol=1e-10)


def test_whole_numbers_come_out_exactly():
    """F(2x2, 3x3) has only halves and quarters in it: small whole numbers are exact in float32."""
    images = torch.randint(-8, 9, (1, 2, 6, 6)).float()
    weight = torch.randint(-4, 5, (3, 2, 3, 3)).float()
    assert torch.equal(winograd_conv2d(images, weight), F.conv2d(images, weight, padding=1))


def test_products_by_hand():
    """A tile of 2x2 takes 16 products for 36, one of 4x4 36 for 144 (section 4)."""
    assert winograd_products((1, 2, 2), 1, tile=2) == 16
    assert winograd_products((1, 4, 4), 1, tile=4) == 36
    macs = 3 * 8 * 8 * 9 * 5
    assert macs / winograd_products((3, 8, 8), 5, tile=2) == 2.25
    assert macs / winograd_products((3, 8, 8), 5, tile=4) == 4
    assert winograd_products((1, 5, 5), 1, tile=4) == 4 * 36  # tiles at the border are whole ones


def test_rounding_grows_with_the_tile_and_falls_with_the_bits():
    images, weight = torch.rand(2, 16, 12, 12), torch.randn(8, 16, 3, 3)
    errors = {
        (tile, dtype): transform_error(images, weight, tile=tile, dtype=dtype)
        for tile in (2, 4)
        for dtype in (torch.float32, torch.float16)
    }
    assert errors[2, torch.float32] < errors[4, torch.float32] < 1e-5
    assert errors[2, torch.float16] < errors[4, torch.float16]
    assert errors[2, torch.float32] < errors[2, torch.float16] < 0.01


def test_bad_input_is_named():
    images, weight = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 3, 3)
    with pytest.raises(InputError, match="tile must be 2 or 4 but is 3"):
        winograd_conv2d(images, weight, tile=3)
    with pytest.raises(InputError, match=r"weight \(K, C, 3, 3\) but got"):
        winograd_conv2d(images, torch.zeros(1, 1, 5, 5))
    with pytest.raises(InputError, match="smaller than the filter"):
        winograd_conv2d(images[:, :, :1], weight, padding=0)
    with pytest.raises(InputError, match="tile must be"):
        winograd_products((1, 4, 4), 1, tile=0)
