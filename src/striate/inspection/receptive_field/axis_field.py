"""Receptive fields along one axis of the image, as terms that each describe a part.

A term is `Along` a line; where the line breaks (a roll, a concatenation in space) it is a `Table`.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from striate.inspection.receptive_field.index_grid import Atom, IndexGrid, constant, counting
from striate.inspection.receptive_field.intervals import FAR, Interval, Taps, fixed_interval, shortest_interval


@dataclass(frozen=True)
class StridedField:
    """The unit at index i of each atom sees what unit `sum(step * i)` of a line sees; without steps, all see the same.

    `mask` says where it does: 0 there, -FAR where the term says nothing (other channels, mostly); None is everywhere.
    """

    line: Interval
    steps: dict[Atom, int]
    mask: IndexGrid | None = None

    @property
    def atoms(self) -> tuple[Atom, ...]:
        return (*self.steps, *(atom for atom in self.mask_atoms if atom not in self.steps))

    @property
    def mask_atoms(self) -> tuple[Atom, ...]:
        return () if self.mask is None else self.mask.atoms

    def is_blind(self) -> bool:
        return self.mask is not None and bool((self.mask.values < 0).all())

    def covers(self, extent: int) -> bool:
        """Whether every unit sees the whole of an image."""
        return not self.steps and self.mask is None and self.line.lows[0] <= 0 and self.line.highs[0] >= extent

    def table(self) -> "Table":
        """The same, unit by unit."""
        turns, phases = np.divmod(counting(0, self.steps), len(self.line.lows))
        lows, highs = np.array(self.line.lows)[phases], np.array(self.line.highs)[phases]
        shifts = np.where(lows < highs, turns * self.line.shift, 0)
        grid = IndexGrid(tuple(self.steps), np.stack([-(lows + shifts), highs + shifts], axis=-1)).over(self.atoms)
        if self.mask is not None:
            grid = IndexGrid(grid.atoms, np.where(self.mask.over(grid.atoms).values < 0, -FAR, grid.values))
        return Table(grid)

    def split(self, atom: Atom, outer: Atom, inner: Atom) -> "AxisField":
        steps = {other: step for other, step in self.steps.items() if other is not atom}
        if atom in self.steps:
            steps |= {outer: self.steps[atom] * inner.size, inner: self.steps[atom]}
        mask = self.mask.split(atom, outer, inner) if self.mask and atom in self.mask_atoms else self.mask
        return StridedField(self.line, steps, mask)

    def fused(self, atoms: tuple[Atom, ...], whole: Atom) -> "AxisField":
        own = {atom: step for atom, step in self.steps.items() if atom in atoms}
        is_masked = bool(set(atoms) & set(self.mask_atoms))
        if not own and self.mask:
            return replace(self, mask=self.mask.fused(atoms, whole))
        if is_masked:
            return self.table().fused(atoms, whole)
        others = {atom: step for atom, step in self.steps.items() if atom not in atoms}
        strides = {atom: prod(after.size for after in atoms[place + 1 :]) for place, atom in enumerate(atoms)}
        ratios = {own.get(atom, 0) / strides[atom] for atom in atoms if atom.size > 1}
        if len(ratios) <= 1:  # what was split before
            step = int(ratios.pop()) if ratios else next(iter(own.values()))
            return StridedField(self.line, others | {whole: step}, self.mask)
        if not others:
            return StridedField(fused_interval(self.line, own, atoms), {whole: 1}, self.mask)
        return self.table().fused(atoms, whole)

    def through(self, old: Atom, new: Atom, taps: Taps) -> "AxisField":
        if old not in self.steps and self.mask:
            return replace(self, mask=self.mask.through(old, new, taps))
        if old in self.mask_atoms or len(self.steps) > 1:
            return self.table().through(old, new, taps)
        return StridedField(self.line.every(self.steps[old]).through(taps), {new: 1}, self.mask)

    def selected(self, old: Atom, start: int, steps: dict[Atom, int]) -> "AxisField":
        if old not in self.steps and self.mask:
            return replace(self, mask=self.mask.taken(old, tuple(steps), counting(start, steps)))
        if old in self.mask_atoms:
            return self.table().selected(old, start, steps)
        own, others = self.steps[old], {atom: step for atom, step in self.steps.items() if atom is not old}
        moved = {atom: own * step for atom, step in steps.items()}
        return StridedField(self.line.every(1, own * start), others | moved, self.mask)

    def rearranged(self, old: Atom, new: Atom, order: np.ndarray) -> "AxisField":
        if old not in self.steps and self.mask:
            return replace(self, mask=self.mask.taken(old, (new,), order))
        return self.table().rearranged(old, new, order)

    def without(self, gone: set[Atom], extent: int) -> "AxisField":
        going = [atom for atom in self.steps if atom in gone]
        if set(going) & set(self.mask_atoms):
            return self.table().without(gone, extent)
        mask = self.mask
        if mask and gone & set(mask.atoms):
            mask = None if gone >= set(mask.atoms) else _unless_all(mask.without(gone))
        if not going:
            return self if mask is self.mask else StridedField(self.line, self.steps, mask)
        rest = {atom: step for atom, step in self.steps.items() if atom not in gone}
        indices = itertools.product(*(range(atom.size) for atom in going))
        taps = {sum(self.steps[atom] * i for atom, i in zip(going, index, strict=True)) for index in indices}
        line = self.line.through(Taps((tuple(sorted(taps)),), 1))
        return StridedField(line, rest, mask) if rest else StridedField(_cut_off(*line.see(0), extent), {}, mask)

    def renamed(self, names: dict[Atom, Atom]) -> "AxisField":
        steps = {names.get(atom, atom): step for atom, step in self.steps.items()}
        return StridedField(self.line, steps, self.mask and self.mask.renamed(names))

    def joined(self, other: "AxisField") -> "AxisField | None":
        """One term that says what both say, None where there is none."""
        if isinstance(other, Table) or self.steps != other.steps:
            return None
        if self.line == other.line:
            mask = _unless_all(self.mask.joined(other.mask)) if self.mask and other.mask else None
            return StridedField(self.line, self.steps, mask)
        if self.mask == other.mask:
            line = self.line.joined(other.line)
            return None if line is None else StridedField(line, self.steps, self.mask)
        for one, two in ((self, other), (other, self)):
            if one.mask is None and one.line.joined(two.line) == one.line:
                return one
        return None


@dataclass(frozen=True)
class Table:
    """The unit at each index of a grid sees the pixels from `low` up to below `high`; the grid holds -low and high."""

    grid: IndexGrid

    @property
    def atoms(self) -> tuple[Atom, ...]:
        return self.grid.atoms

    @property
    def mask_atoms(self) -> tuple[Atom, ...]:
        return ()

    @property
    def steps(self) -> dict[Atom, int]:
        return {}

    def is_blind(self) -> bool:
        return bool((self.grid.values.sum(axis=-1) <= 0).all())

    def covers(self, extent: int) -> bool:
        return bool((self.grid.values >= (0, extent)).all())

    def table(self) -> "Table":
        return self

    def split(self, atom: Atom, outer: Atom, inner: Atom) -> "AxisField":
        return Table(self.grid.split(atom, outer, inner))

    def fused(self, atoms: tuple[Atom, ...], whole: Atom) -> "AxisField":
        return Table(self.grid.fused(atoms, whole))

    def through(self, old: Atom, new: Atom, taps: Taps) -> "AxisField":
        return Table(self.grid.through(old, new, taps))

    def selected(self, old: Atom, start: int, steps: dict[Atom, int]) -> "AxisField":
        return Table(self.grid.taken(old, tuple(steps), counting(start, steps)))

    def rearranged(self, old: Atom, new: Atom, order: np.ndarray) -> "AxisField":
        return Table(self.grid.taken(old, (new,), order))

    def without(self, gone: set[Atom], extent: int) -> "AxisField":
        if not gone & set(self.atoms):
            return self
        grid = self.grid.without(gone)
        return (
            Table(grid) if grid.atoms else StridedField(_cut_off(-int(grid.values[0]), int(grid.values[1]), extent), {})
        )

    def renamed(self, names: dict[Atom, Atom]) -> "AxisField":
        return Table(self.grid.renamed(names))

    def joined(self, other: "AxisField") -> "AxisField | None":
        if isinstance(other, Table) and set(self.atoms) == set(other.atoms):
            return Table(self.grid.joined(other.grid))
        return None


AxisField = StridedField | Table
AxisFields = tuple[AxisField, ...]
"""The receptive field of a unit is the hull of its terms; without terms it is empty."""


def join(terms: Iterable[AxisField], extent: int) -> AxisFields:
    """The same terms, or fewer that say the same."""
    kept: list[AxisField] = []
    for term in terms:
        if term.is_blind():
            continue
        if term.covers(extent):
            return (StridedField(fixed_interval(0, extent), {}),)
        if isinstance(term, StridedField) and len(term.steps) == 1:
            (atom, step) = next(iter(term.steps.items()))
            term = term if step == 1 else StridedField(term.line.every(step), {atom: 1}, term.mask)
        for place, other in enumerate(kept):
            if (both := term.joined(other)) is not None:
                kept[place] = both
                break
        else:
            kept.append(term)
    return tuple(kept)


def tabulated(terms: AxisFields, atoms: tuple[Atom, ...]) -> IndexGrid:
    """All terms as one grid of -low and high over `atoms`, blind where they say nothing."""
    grid = constant(-FAR, -FAR).over(atoms)
    for term in terms:
        grid = grid.joined(term.table().grid)
    return grid


def fused_interval(line: Interval, steps: dict[Atom, int], atoms: tuple[Atom, ...]) -> Interval:
    """A line along the flattened index of atoms, the first of which moves slowest."""
    outer, *inner = atoms
    seen = []
    for turn in range(len(line.lows)):
        for index in np.ndindex(*(atom.size for atom in inner)):
            place = sum(steps.get(atom, 0) * i for atom, i in zip(inner, index, strict=True))
            seen.append(line.see(turn * steps.get(outer, 0) + place))
    return shortest_interval(seen, line.shift * steps.get(outer, 0))


def _unless_all(mask: IndexGrid) -> IndexGrid | None:
    """A mask, or None where it lets everything through."""
    return None if (mask.values >= 0).all() else mask


def _cut_off(low: int, high: int, extent: int) -> Interval:
    """What all units see alike, cut off at the image."""
    return fixed_interval(max(low, 0), min(high, extent))
