"""Boundary attack: walk along the decision boundary by answers alone (Brendel, Rauber & Bethge 2018,
arXiv:1712.04248).
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.draws import branch, normal, uniform
from striate.robustness.norms import L2_NORM, Norm

_NUM_STARTS, _NUM_BISECTIONS = 20, 10
_FIRST_STEP, _FIRST_APPROACH = 0.1, 0.1
_STEP_RATE, _APPROACH_RATE = 0.5, 0.25
_FASTER, _SLOWER, _MEMORY = 1.05, 0.95, 0.9
_TINY = 1e-12


def boundary(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = torch.inf,
    norm: str | Norm = L2_NORM,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 2000,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """From an adversarial image of noise towards the original, staying adversarial (figure 2). Only classes are asked
    for.

    images (N, C, H, W) in [0, 1], labels (N,). Each step is random and orthogonal to the way to the original, then a
    little towards it; both lengths follow the rate of success. Departures: the first image is noise blended with the
    original by bisection; the success rate is a decaying mean instead of one over the last steps.
    """

    def attack(batch: Batch) -> Tensor:
        return _walk(batch, num_steps)

    return attack_batches(
        "boundary", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, seed=seed, batch_size=batch_size, needs_gradients=False,
    )  # fmt: skip


@dataclass
class _Pace:
    """The lengths of the step on the sphere and of the approach, relative to the distance, and how often each succeeds;
    (n,) each.
    """

    steps: Tensor
    approaches: Tensor
    step_rates: Tensor
    approach_rates: Tensor

    def take(self, mask: Tensor) -> "_Pace":
        """Those of some of the images."""
        return _Pace(*(getattr(self, field.name)[mask] for field in fields(self)))

    def update(self, on_sphere: Tensor, approached: Tensor) -> None:
        """Longer where more than the wanted fraction succeed, else shorter (section 2.3); an approach is tried after a
        step alone.
        """
        self.step_rates = _MEMORY * self.step_rates + (1 - _MEMORY) * on_sphere
        tried = torch.where(on_sphere, approached.float(), self.approach_rates)
        self.approach_rates = _MEMORY * self.approach_rates + (1 - _MEMORY) * tried
        self.steps = self.steps * _factor(self.step_rates, _STEP_RATE)
        self.approaches = self.approaches * torch.where(on_sphere, _factor(self.approach_rates, _APPROACH_RATE), 1.0)
        self.steps, self.approaches = self.steps.clamp(1e-5, 1), self.approaches.clamp(1e-6, 0.5)


def _factor(rates: Tensor, wanted: float) -> Tensor:
    return torch.where(rates > wanted, _FASTER, _SLOWER)


def _walk(batch: Batch, num_steps: int) -> Tensor:
    results, has_start = _start(batch)
    rows = has_start.nonzero()[:, 0]
    ones = torch.ones(len(rows), device=results.device)
    pace = _Pace(_FIRST_STEP * ones, _FIRST_APPROACH * ones, _STEP_RATE * ones, _APPROACH_RATE * ones)
    part, points = batch.take(rows), results[rows]
    for number in range(num_steps):
        sizes = part.norm.size(points - part.images)
        going = sizes > batch.epsilon if batch.epsilon < torch.inf else torch.ones_like(sizes, dtype=torch.bool)
        if not going.all():
            results[rows] = points
            rows, points, part, pace = rows[going], points[going], part.take(going), pace.take(going)
        if not len(rows):
            break
        sphere, nearer = _propose(part, points, pace, part.stream(100 + number))
        on_sphere = part.is_met(sphere)
        approached = on_sphere.clone()
        tried = on_sphere.nonzero()[:, 0]
        if len(tried):
            approached[tried] = part.take(tried).is_met(nearer[tried])
        points = torch.where(_wide(on_sphere), torch.where(_wide(approached), nearer, sphere), points)
        pace.update(on_sphere, approached)
    results[rows] = points
    return results


def _start(batch: Batch) -> tuple[Tensor, Tensor]:
    """An adversarial image for each, on the line from noise to the original and near the boundary; whether one was
    found.
    """
    points = batch.images.clone()
    found = torch.zeros(len(batch), dtype=torch.bool, device=points.device)
    for number in range(_NUM_STARTS):
        rows = (~found).nonzero()[:, 0]
        if not len(rows):
            break
        part = batch.take(rows)
        noise = uniform(part.stream(number), points.shape[1:])
        is_met = part.is_met(noise)
        points[rows[is_met]], found[rows[is_met]] = noise[is_met], True
    rows = found.nonzero()[:, 0]
    if not len(rows):
        return points, found
    part, changes = batch.take(rows), points[rows] - batch.images[rows]
    low, high = torch.zeros(len(rows), device=points.device), torch.ones(len(rows), device=points.device)
    for _ in range(_NUM_BISECTIONS):
        middle = (low + high) / 2
        is_met = part.is_met((part.images + _wide(middle) * changes).clamp(0, 1))
        low, high = torch.where(is_met, low, middle), torch.where(is_met, middle, high)
    points[rows] = (part.images + _wide(high) * changes).clamp(0, 1)
    return points, found


def _propose(part: Batch, points: Tensor, pace: _Pace, keys: Tensor) -> tuple[Tensor, Tensor]:
    """A random step on the sphere around the original, and the same with a step towards it, both cut at [0, 1]."""
    ways = points - part.images
    distances = ways.flatten(1).norm(dim=1).clamp(min=_TINY)
    directions = ways / _wide(distances)
    drawn = normal(branch(keys, 0), points.shape[1:])
    drawn = drawn - _wide((drawn * directions).flatten(1).sum(dim=1)) * directions
    drawn = drawn / _wide(drawn.flatten(1).norm(dim=1).clamp(min=_TINY))
    moved = ways + _wide(pace.steps * distances) * drawn
    moved = moved * _wide(distances / moved.flatten(1).norm(dim=1).clamp(min=_TINY))
    sphere = (part.images + moved).clamp(0, 1)
    return sphere, part.images + _wide(1 - pace.approaches) * (sphere - part.images)


def _wide(numbers: Tensor) -> Tensor:
    return numbers.view(-1, 1, 1, 1)
