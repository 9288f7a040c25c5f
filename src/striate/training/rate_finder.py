"""The learning-rate range test: raise the rate a little at every step and watch the loss (Smith 2015,
arXiv:1506.01186, section 3.3).
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from torch import nn

from striate.errors import InputError, NonFiniteLoss
from striate.progress import Track, track_silently
from striate.training.batches import BatchSource
from striate.training.objective import objective_of
from striate.training.optimizers import set_rates
from striate.training.randomness import preserved_randomness, seed_for
from striate.training.recipe import Recipe
from striate.training.step import train_step
from striate.training.trial import copy_to_train, endless_batches

LOWEST_RATE, HIGHEST_RATE = 1e-6, 10.0
NUM_STEPS = 120
SMOOTHING = 0.9
DIVERGED = 4.0
"""The scan ends where the smoothed loss is this many times its lowest value."""
CAREFUL = 10.0
LEAST_GAIN = 0.02
"""A scan in which the loss falls by a smaller share than this found nothing."""


@dataclass(frozen=True)
class RateScan:
    """The smoothed training loss at each rate tried, in rising order. `suggested_learning_rate` is None where no rate
    helped.

    The suggestion is a tenth of the rate at which the smoothed loss is lowest: there it is about to turn, and smoothing
    lags behind. It is meant as a peak rate and errs on the careful side.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested_learning_rate: float | None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "rates": list(self.rates),
            "losses": list(self.losses),
            "suggested_learning_rate": self.suggested_learning_rate,
        }


def find_rate(
    network: nn.Module,
    recipe: Recipe,
    loader: BatchSource,
    *,
    fabric: Fabric,
    head: str | None = None,
    num_steps: int = NUM_STEPS,
    track: Track = track_silently,
) -> RateScan:
    """Train a copy of `network` by the recipe's optimiser on its batches, the rate rising from 1e-6 to 10 in equal
    ratios.

    Stops early when the loss explodes. Layer groups keep their ratios. Runs in one process; nothing but the result is
    left behind.
    """
    if recipe.optimizer.name == "lbfgs":
        raise InputError("lbfgs finds its steps by a line search, so there is no rate to scan for; keep 1")
    fabric.to_device(network)
    with preserved_randomness(fabric.device):
        trainee, optimizer = copy_to_train(network, recipe, head=head)
        model = fabric.setup_module(trainee, move_to_device=False)
        loss_fn = objective_of(recipe, loader, fabric.device)
        ratio = (HIGHEST_RATE / LOWEST_RATE) ** (1 / (num_steps - 1))
        rates: list[float] = []
        losses: list[float] = []
        average = 0.0
        with contextlib.closing(endless_batches(loader, recipe, fabric)) as batches:
            for step in track(range(num_steps), "scanning learning rates", num_steps):
                rate = LOWEST_RATE * ratio**step
                set_rates(optimizer, rate / recipe.optimizer.learning_rate)
                seed = seed_for(recipe.seed, "rate scan", step)
                try:
                    result = train_step(model, [next(batches)], loss_fn, optimizer, fabric, seed=seed)
                except NonFiniteLoss:
                    if step == 0:
                        raise
                    break
                average = SMOOTHING * average + (1 - SMOOTHING) * result.loss_sum / result.weight
                rates.append(rate)
                losses.append(average / (1 - SMOOTHING ** (step + 1)))
                if losses[-1] > DIVERGED * min(losses):
                    break
    return RateScan(tuple(rates), tuple(losses), suggest_rate(rates, losses))


def suggest_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The peak rate that a curve of smoothed losses speaks for, see `RateScan`; None when the loss never falls."""
    lowest = int(np.argmin(losses))
    return None if losses[lowest] > (1 - LEAST_GAIN) * losses[0] else rates[lowest] / CAREFUL
