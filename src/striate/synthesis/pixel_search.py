"""Search for the pixels that minimise a loss which does not change from step to step, by L-BFGS or Adam; the best are
kept.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from striate.errors import InputError
from striate.synthesis.models import step_gradient
from striate.synthesis.pictures import Synthesis, to_pixels
from striate.synthesis.watching import Watch

Method = Literal["lbfgs", "adam"]
_HISTORY = 10
"""Pairs that L-BFGS keeps: at 1024 x 1024 pixels each takes 25 MB."""


def search_pixels(
    start: Tensor,
    loss_of: Callable[[Tensor], Tensor],
    *,
    num_steps: int,
    method: Method = "lbfgs",
    learning_rate: float | None = None,
    finish: Callable[[Tensor], Tensor] = lambda images: images,
    watch: Watch,
) -> Synthesis:
    """Images (1, C, H, W) near [0, 1] -> the picture of the lowest loss met, after `finish`.

    Each step evaluates the loss and its gradient once; `losses` are those before each step. The learning rate is 1 for
    L-BFGS and 0.02 for Adam unless it is given. Raises InputError for another method, NonFiniteLoss for NaN.
    """
    if num_steps < 1:
        raise InputError(f"at least 1 step is needed but {num_steps} were asked for")
    if learning_rate is not None and not 0 < learning_rate < float("inf"):
        raise InputError(f"the learning rate must be above 0 but is {learning_rate:g}")
    images = start.detach().clone().requires_grad_()
    optimizer = _optimizer(method, images, learning_rate)
    best, lowest = start.detach().clone(), float("inf")
    losses: list[float] = []

    def closure() -> float:
        nonlocal lowest
        loss = loss_of(images)
        (images.grad,) = step_gradient(loss, [images], len(losses) + 1)
        value = loss.item()
        losses.append(value)
        if value < lowest:
            lowest = value
            best.copy_(images.detach())
        return value

    was_stopped = False
    for step in range(1, num_steps + 1):
        optimizer.step(closure)
        watch.on_step(step, num_steps, losses[-1], lambda: to_pixels(finish(best)))
        if watch.should_stop():
            was_stopped = step < num_steps
            break
    return Synthesis(to_pixels(finish(best)), tuple(losses), was_stopped)


def _optimizer(method: str, images: Tensor, learning_rate: float | None) -> torch.optim.Optimizer:
    if method == "lbfgs":
        return torch.optim.LBFGS(
            [images], lr=learning_rate or 1.0, max_iter=1, history_size=_HISTORY, tolerance_grad=0, tolerance_change=0
        )
    if method == "adam":
        return torch.optim.Adam([images], lr=learning_rate or 0.02, betas=(0.9, 0.99))
    raise InputError(f"pictures are optimised by lbfgs or adam but {method!r} was asked for")
