"""Masks of images larger than what the network sees, at their own resolution: overlapping tiles whose probabilities
fade into each other.

Nothing here imports torch. H x W pixels of the image, h x w of a tile, K classes. Memory grows with K x h x W, not with
the image.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.tasks.segmentation.predictions import mask_prediction

if TYPE_CHECKING:
    from striate.tasks.predictions import ForwardFn, ImageLike

OVERLAP = 0.5
"""The part of a tile, in each direction, that its neighbour sees as well."""
TILES_AT_ONCE = 4


def predict_in_tiles(
    named: "Iterable[tuple[str, ImageLike]]",
    preprocessing: Preprocessing,
    class_names: tuple[str, ...],
    run: "ForwardFn",
) -> Iterator[Any]:
    """The mask of each image at its own resolution, or a PredictionError, in order."""
    from striate.tasks.predictions import PredictionError, read_picture

    for name, image in named:
        picture = read_picture(name, image, preprocessing.channels)
        if isinstance(picture, PredictionError):
            yield picture
        else:
            decoded = np.asarray(picture)
            pixels = decoded.reshape(*decoded.shape[:2], preprocessing.channels)
            mask, confidence = tiled_mask(run, pixels, preprocessing.crop_size, len(class_names))
            yield mask_prediction(name, mask, confidence, class_names)


def tiled_mask(
    run: "ForwardFn", pixels: np.ndarray, tile: tuple[int, int], num_classes: int, *, overlap: float = OVERLAP
) -> tuple[np.ndarray, float]:
    """The classes (H, W) uint8 of pixels (H, W, C) uint8 and the mean probability of those chosen.

    `run` gives probabilities (n, K, h, w) of tiles (n, h, w, C). Every tile counts most in its middle and fades to its
    borders, so that no border shows. An image smaller than a tile is mirrored at its borders. InputError unless 0 <=
    `overlap` < 1.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"tiles overlap by a part of them from 0 to below 1 but by {overlap:g}")
    height, width = pixels.shape[:2]
    padded = _padded(pixels, tile)
    mask = np.zeros(padded.shape[:2], np.uint8)
    confidence = 0.0
    for top, probabilities in _finished_rows(run, padded, tile, num_classes, overlap):
        rows = slice(top, top + probabilities.shape[1])
        mask[rows] = probabilities.argmax(axis=0)
        confidence += float(probabilities.max(axis=0)[: max(0, height - top), :width].sum())
    return mask[:height, :width], confidence / (height * width)


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin so that they cover `length` evenly, with at least this overlap: the first at 0, the last at the
    end.
    """
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = -(-(length - tile) // step) + 1
    return [round(place) for place in np.linspace(0, length - tile, count).tolist()]


def _finished_rows(
    run: "ForwardFn", pixels: np.ndarray, tile: tuple[int, int], num_classes: int, overlap: float
) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, probabilities (K, rows, W)) from the top down, each row once, when no further tile reaches it."""
    (height, width), (tile_height, tile_width) = pixels.shape[:2], tile
    tops, lefts = tile_starts(height, tile_height, overlap), tile_starts(width, tile_width, overlap)
    weights = _fading(tile_height)[:, None] * _fading(tile_width)
    sums = np.zeros((num_classes, tile_height, width), np.float32)
    total = np.zeros((tile_height, width), np.float32)
    for top, following in pairwise([*tops, height]):
        for start in range(0, len(lefts), TILES_AT_ONCE):
            some = lefts[start : start + TILES_AT_ONCE]
            tiles = np.stack([pixels[top : top + tile_height, left : left + tile_width] for left in some])
            for left, probabilities in zip(some, run(tiles), strict=True):
                sums[:, :, left : left + tile_width] += probabilities * weights
                total[:, left : left + tile_width] += weights
        done = min(following - top, tile_height)
        yield top, sums[:, :done] / total[:done]
        sums = np.concatenate([sums[:, done:], np.zeros((num_classes, done, width), np.float32)], axis=1)
        total = np.concatenate([total[done:], np.zeros((done, width), np.float32)])


def _fading(length: int) -> np.ndarray:
    """1 in the middle and in a straight line to nearly 0 at both ends: (length,) float32."""
    return (1 - np.abs(np.arange(length) - (length - 1) / 2) / (length / 2 + 0.5)).astype(np.float32)


def _padded(pixels: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    """The image, mirrored to the right and below where it is smaller than a tile."""
    missing = [max(0, side - have) for side, have in zip(tile, pixels.shape[:2], strict=True)]
    if not any(missing):
        return pixels
    return np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
