"""A quick engine first, and a slow one again where the quick one is not sure: how sure is found on real images.

Two classes are a near tie where the gap of their logits is small. The gap is the logarithm of the ratio of the two
largest probabilities, so that any engine's answer tells it. N images, K classes.
"""

import math
from dataclasses import dataclass

import numpy as np

from striate.errors import InputError
from striate.tasks.predictions import ForwardFn

SAFETY = 2.0
"""The largest shift of logits against each other that was seen is multiplied by this."""
_GREYS = 8
SMALLEST_GAP = 0.05
"""In nats. Where the quick engine was never wrong on the images tried, closer ties than this are computed again still.
"""


def gaps(probabilities: np.ndarray) -> np.ndarray:
    """The gap of the two largest logits of each image, (N,) float64 in nats: (N, K) -> infinity where one class has
    all.
    """
    largest = np.partition(probabilities.astype(np.float64), -2, axis=1)[:, -2:]  # (N, 2), ascending
    with np.errstate(divide="ignore"):
        return np.log(largest[:, 1]) - np.log(largest[:, 0])


def safe_gap(quick: np.ndarray, slow: np.ndarray) -> float:
    """The gap below which the quick engine's answer is not to be trusted, in nats: both (N, K), of the same images.

    SAFETY times the largest shift between logits of leading classes, wherever the best class stayed the same too, at
    least SMALLEST_GAP: an answer can only flip where the shift reaches the gap. Identical answers are so promised on
    the images tried, and elsewhere as far as shifts stay within SAFETY times those seen. InputError without images, or
    where the quick engine was wrong with certainty.
    """
    if quick.shape != slow.shape or not len(quick):
        raise InputError(f"expected answers of both engines to the same images but got {quick.shape} and {slow.shape}")
    wrong = quick.argmax(axis=1) != slow.argmax(axis=1)
    largest_wrong = float(gaps(quick[wrong]).max(initial=0.0))
    gap = max(SMALLEST_GAP, SAFETY * max(largest_wrong, float(_shifts(quick, slow).max(initial=0.0))))
    if not math.isfinite(gap):
        raise InputError("the quick engine is wrong and certain of it, so no gap tells when to compute again")
    return gap


def unlike_images(pixels: np.ndarray, most: int) -> np.ndarray:
    """Up to `most` images unlike those given, (N, H, W, C) uint8 -> the same shape: inverted, mixed in pairs, noise and
    flat greys.
    """
    share = max(1, most // 4)
    greys = np.linspace(0, 255, min(_GREYS, share)).round().astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (share, *pixels.shape[1:]), np.uint8)
    mixed = (pixels[:share].astype(np.uint16) + pixels[::-1][:share]) // 2
    flat = np.broadcast_to(greys[:, None, None, None], (len(greys), *pixels.shape[1:]))
    return np.concatenate([255 - pixels[:share], mixed.astype(np.uint8), noise, flat])[:most]


def _shifts(quick: np.ndarray, slow: np.ndarray) -> np.ndarray:
    """How far the logits of the two leading classes of either engine moved against each other, (N,) in nats; 0 where
    one has all.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.log(quick.astype(np.float64)) - np.log(slow.astype(np.float64))
    leading = np.concatenate([np.argsort(-each, axis=1, kind="stable")[:, :2] for each in (quick, slow)], axis=1)
    moved = np.take_along_axis(moved, leading, axis=1)
    moved[~np.isfinite(moved)] = np.nan
    spread = np.fmax.reduce(moved, axis=1) - np.fmin.reduce(moved, axis=1)
    return np.nan_to_num(spread, nan=0.0)


@dataclass(frozen=True, eq=False)
class LowMarginRecompute:
    """`quick` for every image, `slow` again for those whose gap is below `gap`; called like either of them."""

    quick: ForwardFn
    slow: ForwardFn
    gap: float

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, H, W, C) -> probabilities (N, K): `slow`'s for low-margin predictions, `quick`'s for all
        others.
        """
        probabilities = self.quick(pixels)
        unsure = ~(gaps(probabilities) >= self.gap)  # not a number is unsure too
        if not unsure.any():
            return probabilities
        answers = np.array(probabilities)  # an engine may keep and reuse what it gave
        answers[unsure] = self.slow(pixels[unsure])
        return answers
