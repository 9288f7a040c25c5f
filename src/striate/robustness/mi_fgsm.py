"""Momentum iterative fast gradient sign method (Dong et al. 2018, arXiv:1710.06081), which transfers better than
BIM.
"""

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.norms import LINF, Norm
from striate.robustness.pgd import ascend


def mi_fgsm(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
    stop_early: bool = True,
    batch_size: int | None = None,
) -> Adversarials:
    """Steps along the steepest direction of a decaying sum of gradients (algorithm 1): g <- decay * g + grad /
    |grad|_1.

    images (N, C, H, W) in [0, 1], labels (N,). `step_size` is epsilon / num_steps by default. Departure: each gradient
    is divided by the mean of its absolute values instead of their sum, as in the authors' code; only rounding differs.
    """
    size = epsilon / num_steps if step_size is None else step_size

    def attack(batch: Batch) -> Tensor:
        sums = torch.zeros_like(batch.images)

        def step(_number: int, rows: Tensor, gradients: Tensor) -> Tensor:
            scales = gradients.abs().mean(dim=(1, 2, 3), keepdim=True)
            sums[rows] = decay * sums[rows] + gradients / torch.where(scales > 0, scales, 1.0)
            return size * batch.norm.steepest(sums[rows])

        return ascend(batch, batch.images, num_steps, step)

    return attack_batches(
        "mi_fgsm", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps,
        stop_early=stop_early, batch_size=batch_size,
    )  # fmt: skip
