"""Ways back to a larger image: on paper, and where torch has the same."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.layers.pooling import fractional_max_pool
from striate.layers.unpooling import max_unpool, upsampling_filter, upsampling_layer

SMALL = torch.tensor([[1.0, 2], [3, 4]])[None, None]


def test_nearest_and_bed_of_nails_on_paper():
    nearest = upsampling_layer(1, 2, "nearest")(SMALL)
    assert nearest[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    nails = upsampling_layer(1, 2, "bed_of_nails")(SMALL)
    assert nails[0, 0].tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]


def test_bilinear_filters_on_paper():
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(upsampling_filter(2), line[:, None] * line)
    line = torch.tensor([1.0, 2, 3, 2, 1]) / 3
    torch.testing.assert_close(upsampling_filter(3), line[:, None] * line)
    assert torch.equal(upsampling_filter(1), torch.ones(1, 1))


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
def test_against_interpolate(factor):
    """Bilinear differs at the border alone: torch repeats the outermost pixel there."""
    maps = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps, scale_factor=float(factor), mode="nearest")
    assert torch.equal(upsampling_layer(3, factor, "nearest")(maps), expected)
    made = upsampling_layer(3, factor)(maps)
    expected = F.interpolate(maps, scale_factor=float(factor), mode="bilinear")
    assert made.shape == expected.shape
    inside = (..., slice(factor // 2, made.shape[2] - factor // 2), slice(factor // 2, made.shape[3] - factor // 2))
    torch.testing.assert_close(made[inside], expected[inside])
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")  # with the border repeated, all of it
    cut = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(upsampling_layer(3, factor)(padded)[cut], expected)


def test_weights_can_be_trained():
    layer = upsampling_layer(2, 2)
    layer(torch.randn(1, 2, 3, 3)).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.any()


def test_max_unpooling_on_paper():
    """The maxima of four 2x2 windows go back to where they were."""
    image = torch.tensor([[1.0, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]])[None, None]
    pooled, indices = F.max_pool2d(image, 2, return_indices=True)
    assert pooled[0, 0].tolist() == [[5, 6], [7, 8]]
    unpooled = max_unpool(SMALL, indices, (4, 4))
    assert unpooled[0, 0].tolist() == [[0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [3, 0, 0, 4]]


@pytest.mark.parametrize("size", [(8, 6), (9, 7)])
def test_against_torchs_max_unpool(size):
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    pooled, indices = nn.MaxPool2d(2, return_indices=True)(maps)
    expected = F.max_unpool2d(pooled, indices, 2, output_size=size)
    assert torch.equal(max_unpool(pooled, indices, size), expected)


def test_overlapping_windows_take_the_mean():
    """One maximum for two windows. What was pooled comes back as it was; other values meet in the middle."""
    signal = torch.tensor([[[[0.0, 9, 0]]]])
    pooled, indices = F.max_pool2d(signal, (1, 2), stride=1, return_indices=True)
    assert torch.equal(max_unpool(pooled, indices, (1, 3)), signal)
    values = torch.tensor([[[[1.0, 4.0]]]], requires_grad=True)
    unpooled = max_unpool(values, indices, (1, 3))
    assert unpooled.flatten().tolist() == [0, 2.5, 0]
    (gradient,) = torch.autograd.grad(unpooled.sum(), values)
    assert gradient.flatten().tolist() == [0.5, 0.5]


def test_it_undoes_fractional_pooling_too():
    maps = torch.rand(1, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    pooled, indices = fractional_max_pool(maps, (5, 5))
    unpooled = max_unpool(pooled, indices, (7, 7))
    kept = unpooled != 0
    torch.testing.assert_close(unpooled[kept], maps[kept])  # up to the rounding of a mean of three equal numbers
    assert kept.sum() == len(pooled.unique())


def test_refusals():
    with pytest.raises(InputError, match=r"maps \(1, 1, 2, 2\) and indices \(1, 1, 2, 1\) must be alike"):
        max_unpool(SMALL, torch.zeros(1, 1, 2, 1, dtype=torch.long), (4, 4))
    with pytest.raises(RuntimeError, match="index 4 is out of bounds"):
        max_unpool(SMALL, torch.full((1, 1, 2, 2), 4), (2, 2))
    with pytest.raises(InputError, match="factor must be at least 1 but is 0"):
        upsampling_filter(0)
    with pytest.raises(InputError, match="kind must be 'nearest', 'bed_of_nails' or 'bilinear' but is 'cubic'"):
        upsampling_filter(2, "cubic")  # type: ignore[arg-type]
