"""The attack of Carlini & Wagner 2017 (arXiv:1608.04644) by Euclidean length: optimise size and success together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.norms import L2_NORM, Norm

_EDGE = 1 - 1e-6
"""tanh reaches 0 and 1 only at infinity, so pixels begin this near."""
_FIRST_CONSTANT, _LARGEST_CONSTANT = 1e-2, 1e10
_BETAS, _TINY = (0.9, 0.999), 1e-8


def carlini_wagner(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = torch.inf,
    norm: str | Norm = L2_NORM,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 200,
    step_size: float = 0.05,
    num_searches: int = 6,
    confidence: float = 0.0,
    batch_size: int | None = None,
) -> Adversarials:
    """The smallest change found by Adam over w, x = (tanh w + 1) / 2, minimising |x - x0|^2 + c * f(x) (section VI.A).

    f is the shortfall of the criterion's margin below `confidence` (eq. 6, f_6). The constant c is searched
    `num_searches` times: up by ten until it succeeds, then by bisection. images (N, C, H, W) in [0, 1], labels (N,).
    Where epsilon is finite an image is done once a success is that near. The paper takes steps of 0.01 and 1,000 or
    more of them; 200 of those do not converge.
    """

    def attack(batch: Batch) -> Tensor:
        return _search_constants(batch, num_steps, step_size, num_searches, confidence)

    return attack_batches(
        "carlini_wagner", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, batch_size=batch_size,
    )  # fmt: skip


@dataclass
class _Search:
    """The bracket of c for each image, and the best success so far."""

    low: Tensor
    high: Tensor
    constant: Tensor
    best: Tensor
    sizes: Tensor

    def update(self, rows: Tensor, succeeded: Tensor) -> None:
        """Narrow the bracket of these images."""
        constant = self.constant[rows]
        self.high[rows] = torch.where(succeeded, torch.minimum(self.high[rows], constant), self.high[rows])
        self.low[rows] = torch.where(succeeded, self.low[rows], torch.maximum(self.low[rows], constant))
        is_bracketed = self.high[rows] < _LARGEST_CONSTANT
        middle = (self.low[rows] + self.high[rows]) / 2
        self.constant[rows] = torch.where(is_bracketed, middle, self.constant[rows] * 10)


def _search_constants(batch: Batch, num_steps: int, step_size: float, num_searches: int, confidence: float) -> Tensor:
    ones = torch.ones(len(batch), device=batch.images.device)
    search = _Search(0 * ones, _LARGEST_CONSTANT * ones, _FIRST_CONSTANT * ones, batch.images.clone(), torch.inf * ones)
    for _ in range(num_searches):
        rows = ((search.sizes > batch.epsilon) | (batch.epsilon == torch.inf)).nonzero()[:, 0]
        if not len(rows):
            break
        succeeded = _minimise(batch.take(rows), rows, search, num_steps, step_size, confidence)
        search.update(rows, succeeded)
    return search.best


def _minimise(
    part: Batch, rows: Tensor, search: _Search, num_steps: int, step_size: float, confidence: float
) -> Tensor:
    """Adam from the image itself with the constants of these rows; whether each succeeded at any step (n,)."""
    origins = part.images
    variables = torch.atanh((2 * origins - 1) * _EDGE)
    anchors = (variables.tanh() + 1) / 2
    first, second = torch.zeros_like(variables), torch.zeros_like(variables)
    succeeded = torch.zeros(len(part), dtype=torch.bool, device=origins.device)
    constants = search.constant[rows].view(-1, 1, 1, 1)
    for number in range(1, num_steps + 1):
        points = (variables.tanh() + 1) / 2
        outputs, _, gradients = part.network.climb(
            points, lambda outputs: (confidence - part.criterion.margin(outputs, part.labels)).clamp(min=0)
        )
        is_met = part.criterion.is_met(outputs, part.labels)
        is_met &= part.criterion.margin(outputs, part.labels) >= confidence
        sizes = part.norm.size(points - origins)
        is_better = is_met & (sizes < search.sizes[rows])
        search.best[rows[is_better]], search.sizes[rows[is_better]] = points[is_better], sizes[is_better]
        succeeded |= is_met
        slope = (2 * (points - anchors) + constants * gradients) * 2 * points * (1 - points)  # dx/dw = 2 x (1 - x)
        first = _BETAS[0] * first + (1 - _BETAS[0]) * slope
        second = _BETAS[1] * second + (1 - _BETAS[1]) * slope.square()
        mean, spread = first / (1 - _BETAS[0] ** number), (second / (1 - _BETAS[1] ** number)).sqrt()
        variables = variables - step_size * mean / (spread + _TINY)
    return succeeded
