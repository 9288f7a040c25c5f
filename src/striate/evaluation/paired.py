"""Two classifiers on the same images: is the difference more than chance? N images.

`only_first` and `only_second` count the images that one of them alone names correctly; all others say nothing about the
difference.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from scipy.special import betainc

from striate.errors import InputError

_RESAMPLES = 10_000
_BLOCK_NUMBERS = 4_000_000


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """The two-sided p-value of McNemar's exact test (McNemar 1947, doi:10.1007/BF02295996): twice the smaller binomial
    tail, at most 1.

    Where both are equally good, each disagreement is a fair coin. InputError for negative counts.
    """
    if min(only_first, only_second) < 0:
        raise InputError(f"counts must be at least 0 but are {only_first} and {only_second}")
    count, fewer = only_first + only_second, min(only_first, only_second)
    if count == 0 or 2 * fewer == count:
        return 1.0
    tail = float(betainc(count - fewer, fewer + 1, 0.5))  # P(X <= fewer) of a binomial of `count` fair coins
    return min(1.0, 2 * tail)


def accuracy_difference(
    only_first: int, only_second: int, num_images: int, *, seed: int = 0, confidence: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Accuracy of the second minus that of the first, in [-1, 1], and its interval by the paired bootstrap
    (percentiles).

    Drawing images with replacement draws the two counts from a multinomial, so 10,000 resamples cost nothing.
    """
    if not 0 <= only_first + only_second <= num_images or num_images < 1:
        raise InputError(f"{only_first} and {only_second} disagreements do not fit {num_images} images")
    shares = np.array([only_first, only_second, num_images - only_first - only_second]) / num_images
    drawn = np.random.default_rng(seed).multinomial(num_images, shares, _RESAMPLES)
    differences = (drawn[:, 1] - drawn[:, 0]) / num_images
    return (only_second - only_first) / num_images, _percentiles(differences, confidence)


def mean_difference(
    values: np.ndarray, *, seed: int = 0, confidence: float = 0.95, num_resamples: int = 2_000
) -> tuple[float, tuple[float, float]]:
    """The mean of paired differences (N,), and its interval by the bootstrap over images (percentiles)."""
    draw, count = np.random.default_rng(seed), len(values)
    block = max(1, _BLOCK_NUMBERS // count)
    means = [
        values[draw.integers(0, count, (min(block, num_resamples - start), count))].mean(axis=1)
        for start in range(0, num_resamples, block)
    ]
    return float(values.mean()), _percentiles(np.concatenate(means), confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests made together, so that the chance of any false alarm stays what it is for one (Holm
    1979).
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def images_needed(only_first: int, only_second: int, num_images: int) -> int | None:
    """How many images would show a difference of the size seen, with a chance of 80 % at a level of 5 %; None where
    there is none.

    By the normal approximation of McNemar's test (Connor 1987, Biometrics 43:207-211), disagreements being as frequent
    as here.
    """
    difference = abs(only_second - only_first) / num_images
    if difference == 0:
        return None
    disagreements = (only_first + only_second) / num_images
    level, power = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(0.8)
    spread = level * math.sqrt(disagreements) + power * math.sqrt(max(0.0, disagreements - difference**2))
    return math.ceil((spread / difference) ** 2)


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
