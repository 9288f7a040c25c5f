"""Fast adaptive boundary attack, which looks for the smallest change (Croce & Hein 2020, arXiv:1907.02044).

Departures: an image leaves as soon as its change is smaller than epsilon, where epsilon is finite. `fab` looks at the
`num_classes` most probable classes (DeepFool's ten), not at all of a thousand.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.class_gradients import dual_size, other_classes
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.hyperplane import change_onto
from striate.robustness.losses import Towards
from striate.robustness.norms import LINF, Norm
from striate.robustness.targets import each_target

_MOST_BIAS, _OVERSHOOT, _BACKWARD = 0.1, 1.05, 0.9
_FINAL_SEARCHES = 3
_TINY = 1e-12

Plane = tuple[Tensor, Tensor, Tensor]
"""Whether the criterion is met (n,), weights (n, D) and offsets (n,) of the linearised decision boundary of each image.
"""
PlaneFn = Callable[[Batch, Tensor], Plane]


def fab(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 100,
    num_restarts: int = 1,
    num_classes: int = 10,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """Towards whichever class's boundary is nearest at each step (algorithm 1). images (N, C, H, W), labels (N,).

    With epsilon infinite the result is the smallest change found.
    """

    def attack(batch: Batch) -> Tensor:
        return _search(batch, num_steps, lambda part, points: _nearest_plane(part, points, num_classes))

    return attack_batches(
        "fab", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion, num_steps=num_steps,
        num_restarts=num_restarts, seed=seed, batch_size=batch_size,
    )  # fmt: skip


def fab_targeted(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 100,
    num_targets: int = 9,
    num_restarts: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """Towards the boundary with each of the most probable other classes in turn: one gradient a step, however many
    classes.
    """

    def attack(batch: Batch) -> Tensor:
        return each_target(batch, num_targets, lambda part, _rank: _search(part, num_steps, _plane_towards_target))

    return attack_batches(
        "fab_targeted", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, num_restarts=num_restarts, seed=seed, batch_size=batch_size,
    )  # fmt: skip


def _plane_towards_target(part: Batch, points: Tensor) -> Plane:
    """Where the logits of target and label are equal, linearised at `points`: weights . x + offset is their
    difference.
    """
    assert isinstance(part.criterion, Towards)
    outputs, differences, gradients = part.climb(points)
    weights = gradients.flatten(1)
    is_met = part.criterion.is_met(outputs, part.labels)
    return is_met, weights, differences - (weights * points.flatten(1)).sum(dim=1)


def _nearest_plane(part: Batch, points: Tensor, num_classes: int) -> Plane:
    """The boundary that is nearest by the dual norm (eq. 7)."""
    classes, base = other_classes(part, part.network.outputs(points), num_classes)
    outputs, differences, gradients = part.network.climb_each(points, classes, base)  # (n, K), (n, M), (n, M, D)
    distances = differences.abs() / dual_size(gradients, part.norm).clamp(min=_TINY)
    nearest = distances.argmin(dim=1)
    rows = torch.arange(len(points), device=points.device)
    weights = gradients[rows, nearest]
    is_met = part.criterion.is_met(outputs, part.labels)
    return is_met, weights, differences[rows, nearest] - (weights * points.flatten(1)).sum(dim=1)


def _search(batch: Batch, num_steps: int, plane: PlaneFn) -> Tensor:
    """The nearest adversarial image found of each (n, C, H, W), or the image itself.

    The pass that linearises the boundary at a point also says whether the point is adversarial; only where it is,
    another one is made at the point of the backward step.
    """
    best = batch.images.clone()
    smallest = torch.full((len(batch),), torch.inf, device=best.device)
    rows = torch.arange(len(batch), device=best.device)
    part = batch
    points = batch.images.clone()
    _, weights, offsets = plane(part, points)
    for number in range(num_steps):
        points = _step(part, points, weights, offsets)
        is_last = number + 1 == num_steps
        if is_last:
            is_met = part.is_met(points)
        else:
            is_met, weights, offsets = plane(part, points)
        sizes = part.norm.size(points - part.images)
        is_better = is_met & (sizes < smallest[rows])
        best[rows[is_better]], smallest[rows[is_better]] = points[is_better], sizes[is_better]
        going = smallest[rows] > batch.epsilon if batch.epsilon < torch.inf else torch.ones_like(is_met)
        if is_last or not going.any():
            break
        if not going.all():
            rows, points, part = rows[going], points[going], part.take(going)
            weights, offsets, is_met = weights[going], offsets[going], is_met[going]
        if is_met.any():
            nearer = part.take(is_met)
            points[is_met] = nearer.images + _BACKWARD * (points[is_met] - nearer.images)
            _, weights[is_met], offsets[is_met] = plane(nearer, points[is_met])
    return _final_search(batch, best, smallest)


def _step(part: Batch, points: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """One step towards the plane, drawn a little towards the original's own way to it (eq. 8 to 10)."""
    flat, origins = points.flatten(1), part.images.flatten(1)
    from_point = change_onto(flat, weights, offsets, part.norm)
    from_origin = change_onto(origins, weights, offsets, part.norm)
    near, far = part.norm.size(from_point), part.norm.size(from_origin)
    bias = (near / (near + far).clamp(min=_TINY)).clamp(max=_MOST_BIAS)[:, None]
    mixed = (1 - bias) * (flat + _OVERSHOOT * from_point) + bias * (origins + _OVERSHOOT * from_origin)
    return mixed.clamp(0, 1).view_as(points)


def _final_search(batch: Batch, best: Tensor, smallest: Tensor) -> Tensor:
    """Three bisections of the line from the original to the adversarial image, nearer where that still succeeds."""
    rows = (smallest.isfinite() & (smallest > batch.epsilon)).nonzero()[:, 0]
    if batch.epsilon == torch.inf:
        rows = smallest.isfinite().nonzero()[:, 0]
    if not len(rows):
        return best
    part = batch.take(rows)
    low, high = torch.zeros(len(rows), device=best.device), torch.ones(len(rows), device=best.device)
    changes = best[rows] - part.images
    for _ in range(_FINAL_SEARCHES):
        middle = (low + high) / 2
        is_met = part.is_met(part.images + middle.view(-1, 1, 1, 1) * changes)
        low, high = torch.where(is_met, low, middle), torch.where(is_met, middle, high)
    found = part.images + high.view(-1, 1, 1, 1) * changes
    best[rows] = torch.where(part.is_met(found).view(-1, 1, 1, 1), found, best[rows])
    return best
