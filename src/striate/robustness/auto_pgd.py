"""The loop of APGD: momentum, checkpoints at which the step is halved and the best image taken up again. n images.

Croce & Hein 2020 (arXiv:2003.01690), algorithm 1.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from striate.robustness.attack_batches import Batch

_MOMENTUM, _RHO = 0.75, 0.75
_L1_RADII = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))
"""Radius over epsilon, and the fraction of the steps taken with it."""


@dataclass
class _State:
    """What is kept of each image that is still attacked, each (n, ...)."""

    current: Tensor
    previous: Tensor
    gradients: Tensor
    losses: Tensor
    best: Tensor
    best_losses: Tensor
    best_gradients: Tensor
    steps: Tensor
    num_rises: Tensor
    losses_at_checkpoint: Tensor
    was_halved: Tensor
    rows: Tensor

    def take(self, mask: Tensor) -> "_State":
        """The state of some of the images."""
        return _State(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})


def auto_pgd(batch: Batch, num_steps: int, *, stream: int = 0) -> Tensor:
    """The first success of each image, or the image of the largest loss: (n, C, H, W).

    `stream` names the random start.
    """
    start = batch.norm.start(batch.images, batch.epsilon, batch.stream(1000 + stream))
    if batch.norm.name != "l1":
        return _run(batch, start, batch.epsilon, num_steps)
    for factor, fraction in _L1_RADII:
        epsilon = factor * batch.epsilon
        start = batch.norm.project(start, batch.images, epsilon)
        start = _run(batch, start, epsilon, max(1, round(fraction * num_steps)))
    return start


def checkpoints(num_steps: int) -> list[int]:
    """The steps after which progress is looked at: fractions .22, .41, .57, ... of all (section 3.2)."""
    fractions, found = [0.0, 0.22], []
    while fractions[-1] <= 1:
        found.append(-int(-fractions[-1] * num_steps // 1))
        fractions.append(fractions[-1] + max(fractions[-1] - fractions[-2] - 0.03, 0.06))
    return found


def _run(batch: Batch, start: Tensor, epsilon: float, num_steps: int) -> Tensor:
    """APGD in the ball of radius `epsilon`; only a success within the batch's own radius ends an image."""
    results = start.clone()
    part = batch
    outputs, losses, gradients = part.climb(start)
    ones = torch.ones_like(losses)
    state = _State(
        start, start, gradients, losses, start, losses, gradients, 2 * epsilon * ones, torch.zeros_like(losses), losses,
        torch.ones_like(losses, dtype=torch.bool), torch.arange(len(batch), device=start.device),
    )  # fmt: skip
    may_end = epsilon <= batch.epsilon and batch.stop_early
    ends = set(checkpoints(num_steps))
    last_end = 0
    for number in range(1, num_steps + 1):
        if may_end:
            is_met = part.criterion.is_met(outputs, part.labels)
            if is_met.any():
                results[state.rows[is_met]] = state.current[is_met]
                state, part = state.take(~is_met), part.take(~is_met)
            if not len(state.rows):
                return results
        proposed = _propose(part, state, epsilon, is_first=number == 1)
        outputs, losses, gradients = part.climb(proposed)
        state.num_rises = state.num_rises + (losses > state.losses)
        state.previous, state.current, state.losses, state.gradients = state.current, proposed, losses, gradients
        is_best = losses > state.best_losses
        state.best = torch.where(_wide(is_best), proposed, state.best)
        state.best_gradients = torch.where(_wide(is_best), gradients, state.best_gradients)
        state.best_losses = torch.maximum(losses, state.best_losses)
        if number in ends:
            _look_back(state, number - last_end)
            last_end = number
    if may_end:
        is_met = part.criterion.is_met(outputs, part.labels)
        results[state.rows] = torch.where(_wide(is_met), state.current, state.best)
    else:
        results[state.rows] = state.best
    return results


def _propose(part: Batch, state: _State, epsilon: float, *, is_first: bool) -> Tensor:
    """The next image of each (eq. 3 and 4): a projected step, mixed with the last move."""
    steps = _wide(state.steps)
    moved = part.norm.project(state.current + steps * part.norm.steepest(state.gradients), part.images, epsilon)
    if is_first:
        return moved
    mixed = state.current + _MOMENTUM * (moved - state.current) + (1 - _MOMENTUM) * (state.current - state.previous)
    return part.norm.project(mixed, part.images, epsilon)


def _look_back(state: _State, num_steps: int) -> None:
    """Halve the step where progress was seldom (condition 1) or none since the last checkpoint (condition 2)."""
    is_seldom = state.num_rises < _RHO * num_steps
    is_none = ~state.was_halved & (state.best_losses <= state.losses_at_checkpoint)
    halves = is_seldom | is_none
    wide = _wide(halves)
    state.steps = torch.where(halves, state.steps / 2, state.steps)
    state.current = torch.where(wide, state.best, state.current)
    state.previous = torch.where(wide, state.best, state.previous)
    state.gradients = torch.where(wide, state.best_gradients, state.gradients)
    state.losses = torch.where(halves, state.best_losses, state.losses)
    state.losses_at_checkpoint = state.best_losses
    state.was_halved = halves
    state.num_rises = torch.zeros_like(state.num_rises)


def _wide(numbers: Tensor) -> Tensor:
    return numbers.view(-1, 1, 1, 1)
