"""Projected gradient descent (Madry et al. 2018, arXiv:1706.06083) and its forerunner without random start, the basic
iterative method (Kurakin, Goodfellow & Bengio 2017, arXiv:1607.02533)."""

from collections.abc import Callable

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.norms import LINF, Norm


def pgd(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 40,
    step_size: float | None = None,
    num_restarts: int = 1,
    random_start: bool = True,
    stop_early: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """Steps along the steepest direction, each followed by the projection into the ball (section 2.1, the equation of
    PGD).

    images (N, C, H, W) in [0, 1], labels (N,). `step_size` is 2.5 * epsilon / num_steps by default, so that every
    place of the ball can be reached (appendix of the paper's code). An image is done at its first success.
    """
    size = 2.5 * epsilon / num_steps if step_size is None else step_size

    def attack(batch: Batch) -> Tensor:
        start = batch.norm.start(batch.images, batch.epsilon, batch.stream(0)) if random_start else batch.images
        return ascend(batch, start, num_steps, lambda _step, _rows, gradients: size * batch.norm.steepest(gradients))

    return attack_batches(
        "pgd", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion, num_steps=num_steps,
        num_restarts=num_restarts, stop_early=stop_early, seed=seed, batch_size=batch_size,
    )  # fmt: skip


def bim(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 10,
    step_size: float | None = None,
    stop_early: bool = True,
    batch_size: int | None = None,
) -> Adversarials:
    """Small steps from the image itself, each projected (eq. 2); `step_size` is epsilon / num_steps by default.

    With a `Targeted` criterion and the least likely class it is the paper's iterative least-likely method (eq. 5).
    """
    size = epsilon / num_steps if step_size is None else step_size

    def attack(batch: Batch) -> Tensor:
        return ascend(
            batch, batch.images, num_steps, lambda _step, _rows, gradients: size * batch.norm.steepest(gradients)
        )

    return attack_batches(
        "bim", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion, num_steps=num_steps,
        stop_early=stop_early, batch_size=batch_size,
    )  # fmt: skip


StepFn = Callable[[int, Tensor, Tensor], Tensor]
"""Step number, rows (n,) of the batch that are still attacked, and their gradients -> the change of this step (n, C, H,
W).
"""


def ascend(batch: Batch, start: Tensor, num_steps: int, step: StepFn) -> Tensor:
    """Climb the criterion's loss from `start`, projecting after each step; images leave at their first success.

    Shared by every attack whose step follows from the gradient. Returns the last image of each (n, C, H, W).
    """
    current = start.clone()
    rows = torch.arange(len(batch), device=current.device)
    part = batch
    for number in range(num_steps):
        outputs, _, gradients = part.climb(current[rows])
        if batch.stop_early:
            going = ~part.criterion.is_met(outputs, part.labels)
            if not going.all():
                rows, gradients, part = rows[going], gradients[going], part.take(going)
            if not len(rows):
                break
        current[rows] = part.project(current[rows] + step(number, rows, gradients))
    return current
