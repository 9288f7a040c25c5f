"""Pillow's resize as arithmetic: by hand, and against Pillow itself through Preprocessing."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from striate.data.preprocessing import Preprocessing
from striate.export.resampling import ResizeAndCrop, resampling_weights

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos")


def weights(length, resized, kept, interpolation="bilinear"):
    return resampling_weights(length, torch.tensor(resized), kept, interpolation)


def resized_by_both(image, preprocessing):
    mine = ResizeAndCrop(preprocessing)(torch.from_numpy(image)[None].permute(0, 3, 1, 2).float())
    return mine[0].permute(1, 2, 0).numpy().astype(int), preprocessing.to_pixels(image).astype(int)


def plain(channels, resize_size, crop_size, **how):
    return Preprocessing(channels, resize_size, crop_size, (0.0,) * channels, (1.0,) * channels, **how)


def test_halving_by_hand():
    """The triangle reaches two pixels to either side of the centre between pixels 0 and 1: 3/4, 3/4, 1/4 of 7/4."""
    expected = torch.tensor([[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]])
    torch.testing.assert_close(weights(4, 2, 2), expected, atol=2**-22, rtol=0)


def test_doubling_by_hand():
    expected = torch.tensor([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    torch.testing.assert_close(weights(2, 4, 4), expected, atol=0, rtol=0)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_same_size_changes_nothing(interpolation):
    torch.testing.assert_close(weights(7, 7, 7, interpolation), torch.eye(7), atol=0, rtol=0)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_rows_sum_to_one(interpolation):
    sums = weights(97, 31, 20, interpolation).sum(dim=1)
    torch.testing.assert_close(sums, torch.ones(20), atol=97 * 2**-23, rtol=0)


def test_the_crop_is_the_middle_with_halves_rounded_to_even():
    whole = torch.eye(9)
    for kept, first in ((9, 0), (8, 0), (7, 1), (6, 2), (5, 2), (4, 2), (3, 3), (2, 4), (1, 4)):
        torch.testing.assert_close(weights(9, 9, kept), whole[first : first + kept])


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    channels=st.sampled_from((1, 3)),
    resize_size=st.integers(4, 40),
    crop=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    resize=st.sampled_from(("short_side", "stretch")),
    interpolation=st.sampled_from(INTERPOLATIONS),
    seed=st.integers(0, 9),
)
@example(166, 63, 3, 39, (1, 3), "short_side", "lanczos", 0)  # an overlong image, whose columns come first in Pillow 13
@example(500, 3, 1, 20, (0, 0), "short_side", "bicubic", 0)
@example(3, 500, 1, 20, (0, 0), "short_side", "bicubic", 0)
def test_as_pillow_within_a_grey_level(height, width, channels, resize_size, crop, resize, interpolation, seed):
    preprocessing = plain(
        channels,
        resize_size,
        (resize_size - crop[0], resize_size - crop[1]),
        resize=resize,
        interpolation=interpolation,
    )
    image = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    mine, pillows = resized_by_both(image, preprocessing)
    assert mine.shape == pillows.shape
    # In lanczos a flip of the first pass may be weighed by more than 1 in the second. How many pixels differ is asked
    # of photos below: a picture of fifteen pixels enlarged a hundredfold may lie at half grey levels in every fourth.
    assert np.abs(mine - pillows).max() <= (2 if interpolation == "lanczos" else 1)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("shape", [(427, 640), (640, 427), (300, 97), (33, 50)])
def test_a_photo_comes_out_as_pillow_makes_it(interpolation, shape):
    from sklearn.datasets import load_sample_image

    photo = np.array(load_sample_image("flower.jpg"))
    photo = np.ascontiguousarray(np.rot90(photo) if shape[0] == 640 else photo[: shape[0], : shape[1]])
    for resize in ("short_side", "stretch"):
        mine, pillows = resized_by_both(photo, plain(3, 64, (56, 56), resize=resize, interpolation=interpolation))
        assert np.abs(mine - pillows).max() <= 1
        assert (mine != pillows).mean() < 0.002
