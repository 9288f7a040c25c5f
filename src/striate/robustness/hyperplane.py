"""The smallest change, by each norm, that carries an image onto a hyperplane without leaving [0, 1]. n images of D
values.

Croce & Hein 2020 (arXiv:1907.02044, section 2.2, eq. 3 and 4, and the supplement). For `linf` and `l2` every value
moves with one level until it meets its bound; the level is found by sorting the bounds. For `l1` the values of the
largest weights move first, each as far as it can.
"""

import torch
from torch import Tensor

from striate.robustness.norms import Norm

_TINY = 1e-12


def change_onto(points: Tensor, weights: Tensor, offsets: Tensor, norm: Norm) -> Tensor:
    """The change d of each of `points` (n, D) in [0, 1] with weights . (point + d) + offset = 0, offsets (n,): (n, D).

    Where the plane cannot be reached within [0, 1], the change that comes nearest to it.
    """
    wanted = -((weights * points).sum(dim=1) + offsets)
    directions = weights.sign() * wanted.sign()[:, None]
    rooms = torch.where(directions > 0, 1 - points, torch.where(directions < 0, points, 0.0))
    slopes = weights.abs()
    if norm.name == "l1":
        return directions * _greedy(slopes, rooms, wanted.abs())
    if norm.name == "l2":
        levels = torch.where(slopes > 0, rooms / slopes.clamp(min=_TINY), torch.inf)
        level = _level(levels, slopes * rooms, slopes.square(), wanted.abs())
        return directions * torch.minimum(level * slopes, rooms)
    level = _level(torch.where(slopes > 0, rooms, torch.inf), slopes * rooms, slopes, wanted.abs())
    return directions * torch.minimum(level, rooms)


def _level(bounds: Tensor, gains_at_bound: Tensor, slopes: Tensor, wanted: Tensor) -> Tensor:
    """The t (n, 1) at which the sum over values of min(slope * t, gain at bound) is `wanted` (n,); the last bound if
    none.
    """
    bounds, order = bounds.sort(dim=1)
    gains, slopes = gains_at_bound.gather(1, order), slopes.gather(1, order)
    is_real = bounds.isfinite()
    done = gains.cumsum(dim=1) - gains  # of the values before, which are at their bound
    left = slopes.flip(1).cumsum(dim=1).flip(1)  # slopes of this value and those behind
    reached = torch.where(is_real, done + left * torch.where(is_real, bounds, 0.0), -torch.inf)
    place = (reached < wanted[:, None]).logical_and(is_real).sum(dim=1, keepdim=True)
    last = is_real.sum(dim=1, keepdim=True) - 1
    place = torch.minimum(place, last.clamp(min=0))
    level = (wanted[:, None] - done.gather(1, place)) / left.gather(1, place).clamp(min=_TINY)
    highest = torch.where(is_real, bounds, 0.0).amax(dim=1, keepdim=True)
    return torch.minimum(level.clamp(min=0), highest)


def _greedy(slopes: Tensor, rooms: Tensor, wanted: Tensor) -> Tensor:
    """How far each value moves (n, D), the steepest first, until the gains sum up to `wanted`."""
    ordered, order = slopes.sort(dim=1, descending=True)
    gains = ordered * rooms.gather(1, order)
    before = gains.cumsum(dim=1) - gains
    taken = torch.minimum((wanted[:, None] - before).clamp(min=0), gains)
    moves = torch.where(ordered > 0, taken / ordered.clamp(min=_TINY), 0.0)
    return torch.zeros_like(slopes).scatter_(1, order, torch.minimum(moves, rooms.gather(1, order)))
