"""Parts of given sizes drawn from images of which some belong together: groups stay whole, classes are spread evenly.

B parts, K classes. The parts are drawn greedily, the largest groups first, each to where the sum over parts and classes
of (count - due)^2 / due grows least (Pearson's statistic; due is the part's fraction of the class), and then improved
by moving single groups while that lowers it.
"""

import hashlib
from itertools import pairwise

import numpy as np

from striate.errors import DataError

_MOST_PASSES = 10
_TINY = 1e-9
_SIZE_WEIGHT = 1e-3
"""Of the sizes of the parts, where the classes leave them open: remainders of the classes do not all go to one part."""


def join_groups(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) numbers of the smallest groups that no group of either, (N,) each, crosses: connected components."""
    parent = np.arange(len(first))

    def top(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = int(parent[place])
        return place

    for numbers in (first, second):
        seen: dict[int, int] = {}
        for place, number in enumerate(numbers.tolist()):
            one, other = top(seen.setdefault(number, place)), top(place)
            parent[max(one, other)] = min(one, other)
    return np.unique([top(place) for place in range(len(first))], return_inverse=True)[1].reshape(-1)


def draw_parts(
    labels: np.ndarray,
    groups: np.ndarray,
    keys: list[bytes],
    fractions: tuple[float, ...],
    *,
    first_has_all: bool = False,
) -> np.ndarray:
    """A part 0..B-1 for each image (n,), in which groups stay whole: labels and groups (n,) int64, fractions sum to 1.

    `keys` are bytes for each image that sort as the seed drew them, so that the order of images does not matter. No
    part with a fraction above 0 stays empty; with `first_has_all` the first keeps an image of every class. Raises
    DataError where the groups are too few for that.
    """
    _, units = np.unique(groups, return_inverse=True)
    units = units.reshape(-1)
    num_units, num_parts = len(np.unique(units)), sum(fraction > 0 for fraction in fractions)
    if num_units < num_parts:
        raise DataError(
            f"{num_units} groups of images cannot make {num_parts} parts; use smaller groups, or fewer parts"
        )
    counts = _counts(labels, units)
    due = np.outer(np.array(fractions), np.bincount(labels, minlength=int(labels.max()) + 1)).astype(np.float64)
    lowest = _lowest_keys(units, keys)
    order = sorted(range(len(counts)), key=lambda unit: (-int(counts[unit][1].sum()), lowest[unit]))
    held = np.zeros_like(due)
    part_of = np.full(len(counts), -1)
    open_parts = np.array(fractions) > 0
    for unit in order:
        part_of[unit] = int(np.argmin(np.where(open_parts, _cost(held, due, counts[unit]), np.inf)))
        _move(held, counts[unit], -1, int(part_of[unit]))
    for _ in range(_MOST_PASSES):
        if not _improve(order, counts, held, due, part_of, open_parts):
            break
    if first_has_all:
        _give_back(order, counts, held, part_of)
    for part in np.flatnonzero(open_parts).tolist():
        if not (part_of == part).any():
            _fill(part, order, counts, held, due, part_of, keep_classes=first_has_all)
    return part_of[units]


def _counts(labels: np.ndarray, units: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The classes of each group and how many images of them it has."""
    pairs, numbers = np.unique(np.stack([units, labels]), axis=1, return_counts=True)
    starts = np.searchsorted(pairs[0], np.arange(int(units.max()) + 2))
    return [(pairs[1, a:b], numbers[a:b].astype(np.float64)) for a, b in pairwise(starts.tolist())]


def _lowest_keys(units: np.ndarray, keys: list[bytes]) -> list[bytes]:
    """A key for each group that does not depend on the order of its images."""
    own: dict[int, list[bytes]] = {}
    for unit, key in zip(units.tolist(), keys, strict=True):
        own.setdefault(unit, []).append(key)
    return [hashlib.blake2b(b"".join(sorted(own[unit])), digest_size=16).digest() for unit in range(len(own))]


def _cost(held: np.ndarray, due: np.ndarray, count: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(B,) how much Pearson's statistic grows where the group is added to each part."""
    classes, own = count
    wanted = np.maximum(due[:, classes], _TINY)
    result: np.ndarray = ((2 * (held[:, classes] - due[:, classes]) + own) * own / wanted).sum(axis=1)
    size, all_due = own.sum(), np.maximum(due.sum(axis=1), _TINY)
    return result + _SIZE_WEIGHT * (2 * (held.sum(axis=1) - all_due) + size) * size / all_due


def _move(held: np.ndarray, count: tuple[np.ndarray, np.ndarray], old: int, new: int) -> None:
    classes, own = count
    if old >= 0:
        held[old, classes] -= own
    held[new, classes] += own


def _improve(
    order: list[int],
    counts: list[tuple[np.ndarray, np.ndarray]],
    held: np.ndarray,
    due: np.ndarray,
    part_of: np.ndarray,
    open_parts: np.ndarray,
) -> bool:
    """Move each group to where it costs least; whether any moved."""
    has_moved = False
    for unit in order:
        old = int(part_of[unit])
        classes, own = counts[unit]
        held[old, classes] -= own
        costs = np.where(open_parts, _cost(held, due, counts[unit]), np.inf)
        new = int(np.argmin(costs))
        if costs[new] >= costs[old] - 1e-6:
            new = old
        held[new, classes] += own
        part_of[unit] = new
        has_moved |= new != old
    return has_moved


def _give_back(
    order: list[int], counts: list[tuple[np.ndarray, np.ndarray]], held: np.ndarray, part_of: np.ndarray
) -> None:
    """Move the smallest groups of classes that the first part lacks into it."""
    for unit in reversed(order):
        classes, _ = counts[unit]
        if part_of[unit] != 0 and (held[0, classes] == 0).any():
            _move(held, counts[unit], int(part_of[unit]), 0)
            part_of[unit] = 0


def _fill(
    part: int,
    order: list[int],
    counts: list[tuple[np.ndarray, np.ndarray]],
    held: np.ndarray,
    due: np.ndarray,
    part_of: np.ndarray,
    *,
    keep_classes: bool,
) -> None:
    """Move into an empty part the group that costs least there, of the first part or another that keeps one."""
    members = np.bincount(part_of, minlength=len(due))
    best, least = -1, np.inf
    for unit in order:
        old = int(part_of[unit])
        classes, own = counts[unit]
        takes_class = keep_classes and old == 0 and (held[0, classes] <= own).any()
        if members[old] < 2 or takes_class:
            continue
        cost = float(_cost(held, due, counts[unit])[part])
        if cost < least:
            best, least = unit, cost
    if best < 0:
        raise DataError(
            f"{len(order)} groups are too few: none can be set apart without taking a class out of training; "
            "use smaller groups, or give the splits in the source"
        )
    _move(held, counts[best], int(part_of[best]), part)
    part_of[best] = part
