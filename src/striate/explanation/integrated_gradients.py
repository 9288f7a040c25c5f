"""Integrated gradients: the score's rise along the straight line from a baseline (Sundararajan et al. 2017,
arXiv:1703.01365, eq. 1).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.explanation.batches import check_images, laid_out_as, map_in_parts, num_at_once, run
from striate.explanation.gradients import gradients_of_batch
from striate.explanation.scores import Classes, class_scores
from striate.progress import Log, log_nothing

MAX_GAP = 0.01
_FIRST_STEPS, _MOST_STEPS, _GROWTH = 16, 432, 3


@dataclass(frozen=True)
class Completeness:
    """How far maps are from adding up: |sum - (score - score of the baseline)| / |score - score of the baseline|, and
    by how many steps.
    """

    gap: float
    num_steps: int


def integrated_gradients(
    network: nn.Module,
    images: Tensor,
    *,
    classes: Classes,
    baseline: float | Tensor = 0.0,
    num_steps: int | None = None,
    batch_size: int | None = None,
    log: Log = log_nothing,
) -> Tensor:
    """Integrated gradients by the midpoint rule, signed: images (N, C, H, W) -> maps (N, C, H, W).

    `baseline` is a number or an image (C, H, W); 0 is the mean colour of normalised images. An image's map sums to its
    score less the baseline's (completeness). Without `num_steps` steps are tripled, from 16 up to 432, until an image's
    gap is below 1 % of that difference; `log` hears the largest gap. Raises InputError for a baseline of another shape.
    """
    return integrate(
        network, images, classes=classes, baseline=baseline, num_steps=num_steps, batch_size=batch_size, log=log
    )[0]


def integrate(
    network: nn.Module,
    images: Tensor,
    *,
    classes: Classes,
    baseline: float | Tensor = 0.0,
    num_steps: int | None = None,
    batch_size: int | None = None,
    log: Log = log_nothing,
) -> tuple[Tensor, list[Completeness]]:
    """The same, and for each image how complete its map is."""
    if num_steps is not None and num_steps < 1:
        raise InputError(f"num_steps must be at least 1 but is {num_steps}")
    images = check_images(network, images)
    start = torch.as_tensor(baseline).to(images)
    if start.ndim not in (0, 3) or (start.ndim == 3 and start.shape != images.shape[1:]):
        raise InputError(
            f"a baseline is a number or an image {tuple(images.shape[1:])} but this one is {tuple(start.shape)}"
        )
    found: list[Completeness] = []

    def part(some: Tensor, chosen: Any) -> Tensor:
        size = num_at_once(some, batch_size)
        maps, completeness = _integrate_batch(network, some, start.expand_as(some), chosen, num_steps, size)
        found.extend(completeness)
        return maps

    maps = map_in_parts(network, images, classes, part, batch_size=batch_size)
    worst = max(found, key=lambda each: each.gap)
    log(f"integrated gradients: completeness within {100 * worst.gap:.2g} % after {worst.num_steps} steps")
    return maps, found


def _integrate_batch(
    network: nn.Module, images: Tensor, start: Tensor, chosen: Any, num_steps: int | None, size: int
) -> tuple[Tensor, list[Completeness]]:
    difference = images - start
    with torch.no_grad():
        rise = class_scores(run(network, images), chosen) - class_scores(run(network, start), chosen)
    first = num_steps or _FIRST_STEPS
    steps = torch.full((len(images),), first, device=images.device)
    total = _sum_along(network, start, difference, chosen, _midpoints(first), size)
    while True:
        maps = total / steps.view(-1, 1, 1, 1) * difference
        gaps = ((maps.flatten(1).sum(dim=1) - rise) / rise.abs().clamp(min=1e-12)).abs()
        is_open = (gaps >= MAX_GAP) & (steps < (0 if num_steps else _MOST_STEPS))
        if not is_open.any():
            return maps, [Completeness(float(gap), int(count)) for gap, count in zip(gaps, steps, strict=True)]
        # the images that are not complete yet have all taken as many steps; every third new midpoint is there already
        count = _GROWTH * int(steps[is_open][0])
        fresh = [point for place, point in enumerate(_midpoints(count)) if place % _GROWTH != 1]
        own = chosen[is_open] if isinstance(chosen, Tensor) else chosen
        total[is_open] += _sum_along(network, start[is_open], difference[is_open], own, fresh, size)
        steps[is_open] = count


def _midpoints(num_steps: int) -> list[float]:
    """The middles of `num_steps` equal parts of [0, 1]."""
    half = 0.5 / num_steps
    return [float(point) for point in torch.linspace(half, 1 - half, num_steps)]


def _sum_along(
    network: nn.Module, start: Tensor, difference: Tensor, chosen: Any, points: list[float], size: int
) -> Tensor:
    """The gradients at these fractions of the way, summed: (n, C, H, W). About `size` images are computed at once."""
    num_images = len(start)
    total = torch.zeros_like(start)
    several = max(1, size // num_images)
    for first in range(0, len(points), several):
        some = points[first : first + several]
        fractions = torch.tensor(some).to(start)[:, None, None, None, None]
        along = laid_out_as((start + fractions * difference).flatten(0, 1), difference)  # (points * n, C, H, W)
        labels = chosen.repeat(len(some)) if isinstance(chosen, Tensor) else chosen
        total += gradients_of_batch(network, along, labels).unflatten(0, (len(some), num_images)).sum(dim=0)
    return total
