"""Learning-rate schedules: factors on the peak rate, as functions of the step."""

import math
from dataclasses import dataclass

from striate.training.recipe import ScheduleConfig

ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 10_000
"""Share of the peak rate at both ends of one cycle; PyTorch's and fastai's values. Smith gives only "one or two
orders lower".
"""


def rate_factor(config: ScheduleConfig, step: int, num_steps: int) -> float:
    """The factor on the peak learning rate for update `step` (from 0) of `num_steps`.

    Warm-up rises in equal parts to 1; the schedule itself then runs over the steps that are left. For "plateau" this
    is the warm-up alone: the rest depends on the losses, see `Plateau`.
    """
    num_warmup = round(config.warmup * num_steps)
    if step < num_warmup:
        return (step + 1) / num_warmup
    step, num_steps = step - num_warmup, num_steps - num_warmup
    match config.name:
        case "step":
            return config.factor ** sum(step >= round(milestone * num_steps) for milestone in config.milestones)
        case "linear":
            return 1 - step / num_steps
        case "cosine":
            return _cosine(1.0, 0.0, step / num_steps)
        case "one_cycle":
            return _one_cycle(config.rise, step, num_steps)
    return 1.0


@dataclass
class Plateau:
    """Lowers the rate when the validation loss stops falling. `factor` is the factor now; the fields are stored in
    checkpoints.
    """

    factor: float = 1.0
    best_loss: float | None = None
    num_bad_epochs: int = 0

    def observe(self, loss: float, config: ScheduleConfig) -> None:
        """Take note of an epoch's validation loss; more than `patience` epochs in a row without a new best lower the
        rate.
        """
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss, self.num_bad_epochs = loss, 0
            return
        self.num_bad_epochs += 1
        if self.num_bad_epochs > config.patience:
            self.factor *= config.factor
            self.num_bad_epochs = 0


def _one_cycle(rise: float, step: int, num_steps: int) -> float:
    """Up to the peak and down to almost nothing, in half cosines (Smith & Topin 2017, arXiv:1708.07120).

    Departures: half cosines instead of straight lines, as fastai found better; the momentum stays as it is.
    """
    peak = max(rise * num_steps - 1, 0.0)
    last = num_steps - 1
    if step <= peak and peak > 0:
        return _cosine(ONE_CYCLE_START, 1.0, step / peak)
    return _cosine(1.0, ONE_CYCLE_END, (step - peak) / (last - peak)) if last > peak else 1.0


def _cosine(start: float, end: float, share: float) -> float:
    """From `start` to `end` along half a cosine; `share` of the way in [0, 1] (arXiv:1608.03983, eq. 5)."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
