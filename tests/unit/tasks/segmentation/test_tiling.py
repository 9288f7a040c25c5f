"""Tiles cover an image evenly and leave no seams."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.errors import InputError
from striate.tasks.segmentation.tiling import tile_starts, tiled_mask


def by_brightness(tiles: np.ndarray) -> np.ndarray:
    """A network that looks at each pixel alone: dark, middle, bright."""
    levels = tiles[..., 0].astype(np.float32) / 255
    scores = np.stack([1 - levels, np.full_like(levels, 0.52), levels], axis=1)
    return scores / scores.sum(axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.floats(0, 0.9), st.integers(0, 99))
def test_a_network_without_context_gives_the_same_with_any_tiles(height, width, overlap, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 1)).astype(np.uint8)
    mask, confidence = tiled_mask(by_brightness, pixels, (16, 24), 3, overlap=overlap)
    whole = by_brightness(pixels[None])[0]
    assert np.array_equal(mask, whole.argmax(axis=0))
    assert confidence == pytest.approx(whole.max(axis=0).mean(), rel=1e-4)


def test_borders_fade_where_tiles_disagree():
    """Each tile claims its own left half for class 0: blended, every seam lies where two tiles count alike."""

    def halves(tiles: np.ndarray) -> np.ndarray:
        result = np.zeros((len(tiles), 2, 8, 16), np.float32)
        result[:, 0, :, :8], result[:, 1, :, 8:] = 1, 1
        return result

    mask, _ = tiled_mask(halves, np.zeros((8, 24, 1), np.uint8), (8, 16), 2, overlap=0.5)
    assert mask[0].tolist() == [0] * 8 + [1] * 4 + [0] * 4 + [1] * 8


@given(st.integers(1, 500), st.integers(1, 60), st.floats(0, 0.95))
def test_tiles_cover_everything_with_the_overlap(length, tile, overlap):
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, length - tile)
    for one, other in pairwise(starts):
        assert 0 < other - one <= max(1, tile * (1 - overlap)) + 1


def test_overlaps_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="from 0 to below 1 but by 1"):
        tiled_mask(by_brightness, np.zeros((4, 4, 1), np.uint8), (2, 2), 3, overlap=1)
