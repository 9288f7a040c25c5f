"""Accuracy by group of images, and which groups are worse than the rest by more than chance."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from striate.evaluation.paired import holm
from striate.tasks.intervals import fraction_of

_LEVEL = 0.05


@dataclass(frozen=True)
class GroupFigures:
    """Accuracy on the images of one group with its 95 % Wilson interval.

    `p_value` is that of Fisher's exact one-sided test against all other images, adjusted for the number of groups
    (Holm); below 0.05 the group `is_worse` than the rest.
    """

    name: str
    num_images: int
    accuracy: float
    interval: tuple[float, float]
    p_value: float
    is_worse: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def figures_by_group(correct: np.ndarray, names: tuple[str, ...], numbers: np.ndarray) -> list[GroupFigures]:
    """The figures of each group that has images, the worst first: correct (n,) bool, numbers (n,) index `names`.

    Worst is the lowest accuracy; of equal ones the group with more images.
    """
    present = [number for number in range(len(names)) if (numbers == number).any()]
    total, num_right = len(correct), int(correct.sum())
    p_values = [
        fisher_p_value(int(correct[numbers == number].sum()), int((numbers == number).sum()), num_right, total)
        for number in present
    ]
    rows = []
    for number, p_value in zip(present, holm(p_values), strict=True):
        own = correct[numbers == number]
        share = fraction_of(int(own.sum()), len(own))
        rows.append(GroupFigures(names[number], len(own), share.value, share.interval, p_value, p_value < _LEVEL))
    return sorted(rows, key=lambda row: (row.accuracy, -row.num_images))


def fisher_p_value(own_right: int, own: int, all_right: int, total: int) -> float:
    """The chance that `own` images drawn from `total`, of which `all_right` are right, have at most `own_right` right
    ones.
    """
    rights = np.arange(max(0, own - (total - all_right)), own_right + 1)

    def log_choose(whole: np.ndarray | int, part: np.ndarray | int) -> np.ndarray:
        result: np.ndarray = (
            gammaln(np.add(whole, 1)) - gammaln(np.add(part, 1)) - gammaln(np.subtract(whole, part) + 1)
        )
        return result

    logs = log_choose(all_right, rights) + log_choose(total - all_right, own - rights) - log_choose(total, own)
    return float(min(1.0, np.exp(logs).sum()))
