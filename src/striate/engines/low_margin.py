"""A quick engine first, and a slow one again where the quick one is not sure: how sure is found on real images.

Two classes are a near tie where the gap of their logits is small. The gap is the logarithm of the ratio of the two largest
probabilities, so that any engine's answer tells it. N images, K classes.
"""

import math
from dataclasses import dataclass

import numpy as np

from striate.errors import InputError
from striate.tasks.predictions import ForwardFn

SAFETY = 2.0
"""The largest gap at which the quick engine was ever wrong is multiplied by this."""
SMALLEST_GAP = 0.05
"""In nats. Where the quick engine was never wrong on the images tried, closer ties than this are computed again still."""


def gaps(probabilities: np.ndarray) -> np.ndarray:
    """The gap of the two largest logits of each image, (N,) float64 in nats: (N, K) -> infinity where one class has all."""
    largest = np.partition(probabilities.astype(np.float64), -2, axis=1)[:, -2:]  # (N, 2), ascending
    with np.errstate(divide="ignore"):
        return np.log(largest[:, 1]) - np.log(largest[:, 0])


def safe_gap(quick: np.ndarray, slow: np.ndarray) -> float:
    """The gap below which the quick engine's answer is not to be trusted, in nats: both (N, K), of the same images.

    SAFETY times the largest gap at which the best class differed, at least SMALLEST_GAP. InputError without images, or where
    the quick engine was wrong with certainty.
    """
    if quick.shape != slow.shape or not len(quick):
        raise InputError(f"expected answers of both engines to the same images but got {quick.shape} and {slow.shape}")
    wrong = quick.argmax(axis=1) != slow.argmax(axis=1)
    gap = max(SMALLEST_GAP, SAFETY * float(gaps(quick[wrong]).max(initial=0.0)))
    if not math.isfinite(gap):
        raise InputError("the quick engine is wrong and certain of it, so no gap tells when to compute again")
    return gap


@dataclass(frozen=True, eq=False)
class LowMarginRecompute:
    """`quick` for every image, `slow` again for those whose gap is below `gap`; called like either of them."""

    quick: ForwardFn
    slow: ForwardFn
    gap: float

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, H, W, C) -> probabilities (N, K): `slow`'s for near ties, `quick`'s for all others."""
        probabilities = self.quick(pixels)
        unsure = ~(gaps(probabilities) >= self.gap)  # not a number is unsure too
        if not unsure.any():
            return probabilities
        answers = np.array(probabilities)  # an engine may keep and reuse what it gave
        answers[unsure] = self.slow(pixels[unsure])
        return answers
