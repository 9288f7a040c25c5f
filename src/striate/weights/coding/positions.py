"""Where the non-zero weights of a sparse matrix stand, as symbols for an entropy coder. R rows, D columns.

Pruned weights are not spread evenly: whole pixels or channels go. Each row and each column has a level from 0 to
MAX_LEVEL: 0 if it is empty, else by how much denser than the matrix it is, in half octaves. Positions are grouped by
the sum of the levels of their row and column (empty ones are in no group). Within a group, row by row, a symbol says
how many zeros stand before the next non-zero weight; the last symbol of the group's table is an escape: so many zeros
and no weight yet. Zeros after the last weight are not coded. The gaps of positions that are filled independently with
probability p follow a geometric distribution, so p alone stands for the group's table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from striate.errors import ModelFileError
from striate.weights.coding.frequencies import TOTAL, quantize_frequencies

MAX_LEVEL = 8
MAX_GAP = 255
_ONE = 1 << 16
_TAIL = 16
"""Gaps whose probability is smaller, in parts of 65536, are left to the escape."""


@dataclass(frozen=True, eq=False)
class Positions:
    """The places of non-zero weights as symbols. `row_levels` (R,) and `column_levels` (D,); for each group that
    occurs, in the order of its number: its density in parts of 65536, and its gap symbols.
    """

    row_levels: np.ndarray
    column_levels: np.ndarray
    densities: tuple[int, ...]
    gaps: tuple[np.ndarray, ...]


def describe_positions(mask: np.ndarray, *, use_levels: bool) -> Positions:
    """A mask (R, D) of non-zero weights -> its symbols; without `use_levels` all positions are one group."""
    rows, columns = _levels(mask, 1, use_levels), _levels(mask, 0, use_levels)
    densities, gaps = [], []
    for places in groups_of(rows, columns):
        filled = mask.reshape(-1)[places]
        density = min(_ONE - 1, max(1, round(_ONE * float(filled.mean()))))
        densities.append(density)
        gaps.append(_gap_symbols(filled, len(gap_table(density)) - 1))
    return Positions(rows, columns, tuple(densities), tuple(gaps))


def restore_mask(
    row_levels: np.ndarray, column_levels: np.ndarray, densities: Sequence[int], gaps: Sequence[np.ndarray]
) -> np.ndarray:
    """The mask (R, D) that was described. ModelFileError where a gap leads outside its group or groups are lacking."""
    mask = np.zeros(len(row_levels) * len(column_levels), dtype=bool)
    groups = list(groups_of(row_levels, column_levels))
    if len(groups) != len(densities):
        raise ModelFileError(f"the weights have {len(groups)} groups of positions but {len(densities)} are described")
    for places, density, symbols in zip(groups, densities, gaps, strict=True):
        escape = len(gap_table(density)) - 1
        is_escape = symbols == escape
        filled = (np.cumsum(np.where(is_escape, escape, symbols + 1)) - 1)[~is_escape]
        if len(filled) and filled[-1] >= len(places):
            raise ModelFileError("the coded weights are damaged: a weight lies outside its layer")
        mask[places[filled]] = True
    return mask.reshape(len(row_levels), len(column_levels))


def num_groups(row_levels: np.ndarray, column_levels: np.ndarray) -> int:
    """How many groups of positions there are."""
    return len(_group_numbers(row_levels, column_levels))


def groups_of(row_levels: np.ndarray, column_levels: np.ndarray) -> Sequence[np.ndarray]:
    """The flat positions of each group that occurs, in the order of its number."""
    sums = (row_levels[:, None].astype(np.int64) + column_levels[None]) * (
        (row_levels[:, None] > 0) & (column_levels > 0)
    )
    flat = sums.reshape(-1).astype(np.int8)
    order = np.argsort(flat, kind="stable")
    bounds = np.searchsorted(flat[order], np.arange(2 * MAX_LEVEL + 2))
    return [
        order[bounds[number] : bounds[number + 1]]
        for number in range(1, 2 * MAX_LEVEL + 1)
        if bounds[number + 1] > bounds[number]
    ]


def gap_table(density: int) -> np.ndarray:
    """The table of gap symbols, and the escape as its last one, where each position is filled with probability density
    / 65536.
    """
    left = _ONE * _ONE
    counts: list[int] = []
    while left > _TAIL * _ONE and len(counts) < MAX_GAP:
        filled = left * density >> 16
        counts.append(filled)
        left -= filled
    return quantize_frequencies(np.maximum(1, np.array([*counts, left], dtype=np.int64) >> 8))


def _group_numbers(row_levels: np.ndarray, column_levels: np.ndarray) -> set[int]:
    rows, columns = set(row_levels.tolist()) - {0}, set(column_levels.tolist()) - {0}
    return {row + column for row in rows for column in columns}


def _levels(mask: np.ndarray, axis: int, use_levels: bool) -> np.ndarray:
    """The level of each row (axis 1) or column (axis 0)."""
    means = mask.mean(axis=axis)
    if not use_levels or not mask.any():
        return np.ones(len(means), dtype=np.int64)
    with np.errstate(divide="ignore"):
        octaves = np.log2(means / mask.mean())
    levels = np.clip(np.round(2 * np.maximum(octaves, -100)) + 5, 1, MAX_LEVEL).astype(np.int64)
    return np.where(means > 0, levels, 0)


def _gap_symbols(filled: np.ndarray, escape: int) -> np.ndarray:
    """A group's flags (n,) -> gap symbols, escapes among them."""
    places = np.flatnonzero(filled)
    gaps = np.diff(places, prepend=-1) - 1
    num_escapes = gaps // escape
    symbols = np.full(int((num_escapes + 1).sum()), escape, dtype=np.int64)
    symbols[np.cumsum(num_escapes + 1) - 1] = gaps % escape
    return symbols


assert MAX_GAP + 1 <= TOTAL
