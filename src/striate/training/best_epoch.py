"""Which epoch's weights a run keeps, judged by its validation images."""

import math
from dataclasses import dataclass

FALLING = frozenset({"linear", "cosine", "one_cycle"})
"""Schedules whose rate falls to zero."""


@dataclass(frozen=True)
class BestEpoch:
    """The epoch (from 1) whose weights are kept, with its figures on the validation images."""

    epoch: int
    validation_accuracy: float
    validation_loss: float


def is_better(
    best: BestEpoch | None, accuracy: float, loss: float, *, top_accuracy: float, num_images: int, schedule: str
) -> bool:
    """Whether a new epoch takes the place of `best`. `top_accuracy` is the highest so far; `num_images` validate.

    By accuracy, and by loss where that is equal. Where the rate falls to zero, later epochs are the better ones but for chance,
    and the highest of many accuracies is chance as well: there the latest is kept that is within one standard error of a share, sqrt(p (1 -
    p) / n), of the highest accuracy p (the one-standard-error rule of Breiman et al. 1984, "Classification and regression
    trees", section 3.4.3).
    """
    if best is None:
        return True
    if schedule in FALLING:
        top = max(top_accuracy, accuracy)
        return accuracy >= top - math.sqrt(top * (1 - top) / num_images)
    return (-accuracy, loss) < (-best.validation_accuracy, best.validation_loss)
