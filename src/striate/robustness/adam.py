"""Projected ascent whose steps are Adam's (Kingma & Ba 2015, arXiv:1412.6980), as in Uesato et al. 2018
(arXiv:1802.05666).
"""

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.norms import LINF, Norm
from striate.robustness.pgd import ascend

_BETAS = (0.9, 0.999)
_TINY = 1e-8


def adam(
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
    stop_early: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """Adam's algorithm 1 on each image, every gradient first scaled to a mean magnitude of 1, each step projected.

    images (N, C, H, W) in [0, 1], labels (N,). `step_size` is Adam's learning rate, by default an eighth of epsilon for
    `linf` and the same length for other norms.
    """

    def attack(batch: Batch) -> Tensor:
        first, second = torch.zeros_like(batch.images), torch.zeros_like(batch.images)
        rate = batch.epsilon / 8 if step_size is None else step_size

        def step(number: int, rows: Tensor, gradients: Tensor) -> Tensor:
            scales = gradients.abs().mean(dim=(1, 2, 3), keepdim=True)
            gradients = gradients / torch.where(scales > 0, scales, 1.0)
            first[rows] = _BETAS[0] * first[rows] + (1 - _BETAS[0]) * gradients
            second[rows] = _BETAS[1] * second[rows] + (1 - _BETAS[1]) * gradients.square()
            mean = first[rows] / (1 - _BETAS[0] ** (number + 1))
            spread = (second[rows] / (1 - _BETAS[1] ** (number + 1))).sqrt()
            moves = mean / (spread + _TINY)
            lengths = batch.norm.size(moves).clamp(min=1).view(-1, 1, 1, 1)
            return rate * (moves if batch.norm.name == "linf" else moves / lengths)

        return ascend(batch, batch.norm.start(batch.images, batch.epsilon, batch.stream(0)), num_steps, step)

    return attack_batches(
        "adam", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, num_restarts=num_restarts, stop_early=stop_early, seed=seed, batch_size=batch_size,
    )  # fmt: skip
