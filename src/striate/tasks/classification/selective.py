"""What a classifier is worth where it may decline to answer: errors against the fraction of images answered. N
images.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv

from striate.errors import InputError

ALLOWED_ERRORS = (0.01, 0.02, 0.05, 0.1)
_DELTA = 0.05
_MOST_POINTS = 100


@dataclass(frozen=True)
class Threshold:
    """Answering only images whose confidence is at least `confidence` keeps the error rate at most `allowed_error`.

    It holds for new images of the same kind with a certainty of 95 %; on the images it was found on, a fraction
    `coverage` is answered and `error` of those wrongly. Without an answer that could promise it, `confidence` is None
    and `coverage` 0.
    """

    allowed_error: float
    confidence: float | None
    coverage: float
    error: float | None


@dataclass(frozen=True)
class Selective:
    """The risk-coverage curve as (coverage, risk, confidence) of at most a hundred points, from the most certain image
    on.

    `risk` is the error rate among the fraction `coverage` of images with the highest confidence, `area` its mean over
    all coverages (AURC, arXiv:1805.08206): lower is better, and 0 is a classifier without mistakes. `least_area` is
    that of the best order of the same answers, all mistakes last.
    """

    curve: tuple[tuple[float, float, float], ...]
    area: float
    least_area: float
    thresholds: tuple[Threshold, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "area": self.area,
            "least_area": self.least_area,
            "thresholds": [asdict(each) for each in self.thresholds],
            "curve": [list(point) for point in self.curve],
        }


def selective(confidences: np.ndarray, correct: np.ndarray) -> Selective:
    """Of confidences (N,) in [0, 1] and which answers were right, (N,) bool."""
    coverage, risk, levels = risk_coverage(confidences, correct)
    chosen = np.unique(np.linspace(0, len(coverage) - 1, min(_MOST_POINTS, len(coverage))).round().astype(np.int64))
    area = _area(confidences, correct)
    least = _area(correct.astype(float) + 1, correct)
    return Selective(
        curve=tuple((float(coverage[k]), float(risk[k]), float(levels[k])) for k in chosen),
        area=area,
        least_area=least,
        thresholds=tuple(threshold_for(confidences, correct, allowed) for allowed in ALLOWED_ERRORS),
    )


def risk_coverage(confidences: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coverage, risk and confidence at each different confidence, highest first; equally confident images go
    together.
    """
    order = np.argsort(-confidences, kind="stable")
    levels, errors = confidences[order], np.cumsum(~correct[order])
    ends = np.flatnonzero(np.append(levels[1:] != levels[:-1], True))
    return (ends + 1) / len(levels), errors[ends] / (ends + 1), levels[ends]


def _area(confidences: np.ndarray, correct: np.ndarray) -> float:
    """The mean over i of the risk among the i most confident images; among equally confident ones errors are spread
    evenly.
    """
    order = np.argsort(-confidences, kind="stable")
    levels, wrong = confidences[order], (~correct[order]).astype(float)
    starts = np.flatnonzero(np.append(True, levels[1:] != levels[:-1]))
    sizes = np.diff(np.append(starts, len(levels)))
    spread = np.repeat(np.add.reduceat(wrong, starts) / sizes, sizes)
    return float((np.cumsum(spread) / np.arange(1, len(levels) + 1)).mean())


def threshold_for(
    confidences: np.ndarray, correct: np.ndarray, allowed_error: float, *, delta: float = _DELTA
) -> Threshold:
    """The lowest confidence found at which the error rate is at most `allowed_error` with certainty 1 - `delta`.

    Selection with guaranteed risk (Geifman & El-Yaniv 2017, arXiv:1705.08500, algorithm 1): a binary search over the
    images' own confidences, each step held by the exact binomial bound at delta / steps. InputError unless 0 <
    allowed_error < 1.
    """
    check_allowed_error(allowed_error)
    coverage, risk, levels = risk_coverage(confidences, correct)
    num_images, num_steps = len(confidences), max(1, math.ceil(math.log2(len(levels) + 1)))
    found: int | None = None
    low, high = 0, len(levels) - 1
    while low <= high:
        middle = (low + high) // 2
        answered = round(coverage[middle] * num_images)
        wrong = round(risk[middle] * answered)
        if upper_bound(wrong, answered, delta / num_steps) <= allowed_error:
            found, low = middle, middle + 1
        else:
            high = middle - 1
    if found is None:
        return Threshold(allowed_error, None, 0.0, None)
    return Threshold(allowed_error, float(levels[found]), float(coverage[found]), float(risk[found]))


def check_allowed_error(allowed_error: float) -> None:
    """Raise InputError unless 0 < allowed_error < 1."""
    if not 0 < allowed_error < 1:
        raise InputError(f"the allowed error rate must lie between 0 and 1 but is {allowed_error:g}")


def upper_bound(num_wrong: int, num_images: int, delta: float) -> float:
    """Clopper and Pearson's one-sided upper bound on an error rate, at certainty 1 - `delta`."""
    if num_wrong >= num_images:
        return 1.0
    return float(betaincinv(num_wrong + 1, num_images - num_wrong, 1 - delta))
