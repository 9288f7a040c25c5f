"""Texture synthesis pixel by pixel from a sample (Wei & Levoy 2000, "Fast Texture Synthesis Using Tree-structured
Vector Quantization").

From coarse to fine, each pixel in scan order takes the colour of the sample's pixel whose neighbourhood is most alike:
what is already made at this size and all around it at the size before. Departures: edges repeat the outermost pixel and
do not wrap around; pixels that do not depend on each other are made together, which gives the same picture.
"""

from dataclasses import dataclass

import numpy as np

from striate.errors import InputError
from striate.synthesis.pictures import Synthesis, check_size, resize_pixels
from striate.synthesis.texture import scattered
from striate.synthesis.tree_vq import build_tree, nearest
from striate.synthesis.watching import UNWATCHED, Watch

_MOST_VECTORS = 120_000


@dataclass(frozen=True)
class PatchConfig:
    """`size` is (height, width); neighbourhoods reach `radius_px` at each of up to `num_levels` sizes, each half the
    next.
    """

    size: tuple[int, int]
    radius_px: int = 4
    num_levels: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check_size(self.size)
        if not 1 <= self.radius_px <= 16 or not 1 <= self.num_levels <= 8:
            raise InputError(
                f"the radius must be 1 to 16 pixels and the levels 1 to 8 but they are {self.radius_px} and "
                f"{self.num_levels}"
            )


def synthesize_from_patches(sample: np.ndarray, config: PatchConfig, *, watch: Watch = UNWATCHED) -> Synthesis:
    """A texture (height, width, C) uint8 made of pixels of the sample (h, w, C) uint8; the losses are empty.

    Raises InputError for a sample that is smaller than a neighbourhood.
    """
    side = 2 * config.radius_px + 1
    if min(sample.shape[:2]) < side + 1:
        raise InputError(
            f"the sample has {sample.shape[0]}x{sample.shape[1]} pixels but neighbourhoods of {side}x{side} were asked "
            "for; give a larger sample or a smaller --radius"
        )
    levels = [level for level in range(config.num_levels) if min(sample.shape[:2]) >> level > side]
    num_rows = sum(_halved(config.size, level)[0] for level in levels)
    done = 0
    coarser: np.ndarray | None = None
    coarser_sample: np.ndarray | None = None
    for level in reversed(levels):
        size = _halved(config.size, level)
        small = resize_pixels(sample, _halved(sample.shape[:2], level))
        vectors, colours = _training_vectors(small, coarser_sample, config.radius_px, config.seed)
        tree = build_tree(vectors)
        made = scattered(small, size, config.seed)
        for wave in _waves(size, config.radius_px):
            ys, xs = wave
            queries = _neighbourhoods(made, coarser, ys, xs, config.radius_px)
            made[ys, xs] = colours[nearest(tree, queries)]
            if xs[0] == size[1] - 1:  # a row is complete
                done += 1
                watch.on_step(done, num_rows, 0.0, lambda made=made: resize_pixels(made, config.size))  # type: ignore[misc]
                if watch.should_stop():
                    return Synthesis(resize_pixels(made, config.size), (), was_stopped=done < num_rows)
        coarser, coarser_sample = made, small
    assert coarser is not None
    return Synthesis(coarser, ())


def _halved(size: tuple[int, ...], level: int) -> tuple[int, int]:
    """(height, width) after halving so many times, rounded up."""
    return -(-size[0] // 2**level), -(-size[1] // 2**level)


def _waves(size: tuple[int, int], radius_px: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places (ys, xs), in groups that depend only on groups before: those of equal x + (radius + 1) y, the topmost row
    first.
    """
    height, width = size
    step = radius_px + 1
    waves = []
    for number in range(width + step * (height - 1)):
        first = max(0, -(-(number - width + 1) // step))
        ys = np.arange(first, min(height - 1, number // step) + 1)
        if len(ys):
            waves.append((ys, number - step * ys))
    return waves


def causal_offsets(radius_px: int) -> np.ndarray:
    """(n, 2) offsets (y, x) of the pixels before a pixel in scan order, at most `radius_px` away in either
    direction.
    """
    square = [(y, x) for y in range(-radius_px, 1) for x in range(-radius_px, radius_px + 1)]
    return np.array([(y, x) for y, x in square if y < 0 or x < 0])


def square_offsets(radius_px: int) -> np.ndarray:
    """(n, 2) offsets (y, x) of a square around a pixel, itself included."""
    reach = range(-radius_px, radius_px + 1)
    return np.array([(y, x) for y in reach for x in reach])


def _neighbourhoods(
    picture: np.ndarray, coarser: np.ndarray | None, ys: np.ndarray, xs: np.ndarray, radius_px: int
) -> np.ndarray:
    """(Q, D) float32: the pixels before each place, and those around it in the coarser picture."""
    parts = [_gather(picture, ys, xs, causal_offsets(radius_px))]
    if coarser is not None:
        parts.append(_gather(coarser, ys // 2, xs // 2, square_offsets(max(1, radius_px // 2))))
    return np.concatenate(parts, axis=1)


def _gather(picture: np.ndarray, ys: np.ndarray, xs: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    rows = np.clip(ys[:, None] + offsets[:, 0], 0, height - 1)
    columns = np.clip(xs[:, None] + offsets[:, 1], 0, width - 1)
    return picture[rows, columns].reshape(len(ys), -1).astype(np.float32)


def _training_vectors(
    sample: np.ndarray, coarser: np.ndarray | None, radius_px: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The neighbourhoods (M, D) float32 of the sample's pixels that have a whole one, and the colours (M, C) of these
    pixels.
    """
    height, width = sample.shape[:2]
    ys, xs = (axis.ravel() for axis in np.mgrid[radius_px:height, radius_px : width - radius_px])
    if len(ys) > _MOST_VECTORS:
        kept = np.sort(np.random.default_rng(seed).choice(len(ys), _MOST_VECTORS, replace=False))
        ys, xs = ys[kept], xs[kept]
    return _neighbourhoods(sample, coarser, ys, xs, radius_px), sample[ys, xs]
