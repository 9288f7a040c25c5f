"""Choose the epoch whose weights a run keeps, by the task's score on the validation images."""

import math
from dataclasses import dataclass
from typing import Any

FALLING = frozenset({"linear", "cosine", "one_cycle"})
"""Schedules whose rate falls to zero."""


@dataclass(frozen=True)
class BestEpoch:
    """The epoch (from 1) whose weights are kept, with its figures on the validation images."""

    epoch: int
    validation_score: float
    validation_loss: float

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "BestEpoch":
        """The inverse of `dataclasses.asdict`; older files call the score "validation_accuracy"."""
        score = values.get("validation_score", values.get("validation_accuracy"))
        return cls(values["epoch"], float(score), values["validation_loss"])  # type: ignore[arg-type]


def is_better(
    best: BestEpoch | None, score: float, loss: float, *, top_score: float, num_images: int, schedule: str
) -> bool:
    """Whether a new epoch takes the place of `best`. `top_score` is the highest so far; `num_images` validate.

    By score, and by loss where that is equal. Where the rate falls to zero, later epochs are the better ones but for
    chance, and the highest of many scores is chance as well: there the latest is kept that is within one standard error
    of the highest score p. That is the one of a fraction, sqrt(p (1 - p) / n), which the mean of n numbers in [0, 1]
    never exceeds (the one-standard-error rule of Breiman et al. 1984, "Classification and regression trees", section
    3.4.3).
    """
    if best is None:
        return True
    if schedule in FALLING:
        top = max(top_score, score)
        return score >= top - math.sqrt(top * (1 - top) / num_images)
    return (-score, loss) < (-best.validation_score, best.validation_loss)
