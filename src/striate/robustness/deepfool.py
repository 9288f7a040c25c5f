"""DeepFool: step onto the nearest linearised boundary until the class changes (Moosavi-Dezfooli et al. 2016,
arXiv:1511.04599).
"""

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.class_gradients import dual_size, other_classes
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.norms import L2_NORM, Norm

_STEP_MARGIN, _TINY = 1e-4, 1e-8
"""Added to each step and to each norm: an image that lies on a boundary to the last digit goes over it."""


def deepfool(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = torch.inf,
    norm: str | Norm = L2_NORM,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 50,
    num_classes: int = 10,
    overshoot: float = 0.02,
    batch_size: int | None = None,
) -> Adversarials:
    """A small change that is adversarial (algorithm 2, eq. 8 to 12). images (N, C, H, W) in [0, 1], labels (N,).

    Only the `num_classes` most probable classes are looked at, as in the authors' code. `overshoot` lengthens the
    change. With a finite epsilon a longer change is projected and counts only if it still succeeds.
    """

    def attack(batch: Batch) -> Tensor:
        return _walk(batch, num_steps, num_classes, overshoot)

    return attack_batches(
        "deepfool", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, batch_size=batch_size,
    )  # fmt: skip


def _walk(batch: Batch, num_steps: int, num_classes: int, overshoot: float) -> Tensor:
    classes, base = other_classes(batch, batch.network.outputs(batch.images), num_classes)
    results = batch.images.clone()
    rows = torch.arange(len(batch), device=results.device)
    part, points = batch, batch.images
    total = torch.zeros_like(batch.images)
    for _ in range(num_steps):
        outputs, differences, gradients = part.network.climb_each(points, classes, base)
        is_met = part.criterion.is_met(outputs, part.labels)
        results[rows] = points
        if is_met.any():
            going = ~is_met
            rows, part, total = rows[going], part.take(going), total[going]
            classes, base = classes[going], base[going]
            differences, gradients = differences[going], gradients[going]
        if not len(rows):
            return results
        total = total + _onto_nearest(part, differences, gradients).view_as(total)
        points = (part.images + (1 + overshoot) * total).clamp(0, 1)
    results[rows] = points
    return results


def _onto_nearest(part: Batch, differences: Tensor, gradients: Tensor) -> Tensor:
    """The step onto the nearest of the linearised boundaries, (n, D)."""
    distances = differences.abs() / (dual_size(gradients, part.norm) + _TINY)
    distance, nearest = distances.min(dim=1)
    weights = gradients[torch.arange(len(nearest), device=nearest.device), nearest]
    lengths = (distance + _STEP_MARGIN)[:, None]
    if part.norm.name == "linf":
        return lengths * weights.sign()
    return lengths * weights / (weights.norm(dim=1, keepdim=True) + _TINY)
