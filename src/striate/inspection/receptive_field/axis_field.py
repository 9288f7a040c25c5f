"""What the units of a tensor see along one axis of the image: terms, each of which says a part of it.

A term is `Along` a line; where the line breaks (a roll, a concatenation in space) it is a `Table`.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from striate.inspection.receptive_field.index_grid import Atom, Grid, constant, counting
from striate.inspection.receptive_field.intervals import FAR, Line, Taps, shortest_line, still_line


@dataclass(frozen=True)
class Along:
    """The unit at index i of each atom sees what unit `sum(step * i)` of a line sees; without steps, all see the same.

    `mask` says where it does: 0 there, -FAR where the term says nothing (other channels, mostly); None is everywhere.
    """

    line: Line
    steps: dict[Atom, int]
    mask: Grid | None = None

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
        grid = Grid(tuple(self.steps), np.stack([-(lows + shifts), highs + shifts], axis=-1)).over(self.atoms)
        if self.mask is not None:
            grid = Grid(grid.atoms, np.where(self.mask.over(grid.atoms).values < 0, -FAR, grid.values))
        return Table(grid)

    def split(self, atom: Atom, outer: Atom, inner: Atom) -> "Term":
        steps = {other: step for other, step in self.steps.items() if other is not atom}
        if atom in self.steps:
            steps |= {outer: self.steps[atom] * inner.size, inner: self.steps[atom]}
        mask = self.mask.split(atom, outer, inner) if self.mask and atom in self.mask_atoms else self.mask
        return Along(self.line, steps, mask)

    def fused(self, atoms: tuple[Atom, ...], whole: Atom) -> "Term":
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
            return Along(self.line, others | {whole: step}, self.mask)
        if not others:
            return Along(fused_line(self.line, own, atoms), {whole: 1}, self.mask)
        return self.table().fused(atoms, whole)

    def through(self, old: Atom, new: Atom, taps: Taps) -> "Term":
        if old not in self.steps and self.mask:
            return replace(self, mask=self.mask.through(old, new, taps))
        if old in self.mask_atoms or len(self.steps) > 1:
            return self.table().through(old, new, taps)
        return Along(self.line.every(self.steps[old]).through(taps), {new: 1}, self.mask)

    def selected(self, old: Atom, start: int, steps: dict[Atom, int]) -> "Term":
        if old not in self.steps and self.mask:
            return replace(self, mask=self.mask.taken(old, tuple(steps), counting(start, steps)))
        if old in self.mask_atoms:
            return self.table().selected(old, start, steps)
        own, others = self.steps[old], {atom: step for atom, step in self.steps.items() if atom is not old}
        moved = {atom: own * step for atom, step in steps.items()}
        return Along(self.line.every(1, own * start), others | moved, self.mask)

    def rearranged(self, old: Atom, new: Atom, order: np.ndarray) -> "Term":
        if old not in self.steps and self.mask:
            return replace(self, mask=self.mask.taken(old, (new,), order))
        return self.table().rearranged(old, new, order)

    def without(self, gone: set[Atom], extent: int) -> "Term":
        going = [atom for atom in self.steps if atom in gone]
        if set(going) & set(self.mask_atoms):
            return self.table().without(gone, extent)
        mask = self.mask
        if mask and gone & set(mask.atoms):
            mask = None if gone >= set(mask.atoms) else _unless_all(mask.without(gone))
        if not going:
            return self if mask is self.mask else Along(self.line, self.steps, mask)
        rest = {atom: step for atom, step in self.steps.items() if atom not in gone}
        indices = itertools.product(*(range(atom.size) for atom in going))
        taps = {sum(self.steps[atom] * i for atom, i in zip(going, index, strict=True)) for index in indices}
        line = self.line.through(Taps((tuple(sorted(taps)),), 1))
        return Along(line, rest, mask) if rest else Along(_cut_off(*line.see(0), extent), {}, mask)

    def renamed(self, names: dict[Atom, Atom]) -> "Term":
        steps = {names.get(atom, atom): step for atom, step in self.steps.items()}
        return Along(self.line, steps, self.mask and self.mask.renamed(names))

    def joined(self, other: "Term") -> "Term | None":
        """One term that says what both say, None where there is none."""
        if isinstance(other, Table) or self.steps != other.steps:
            return None
        if self.line == other.line:
            mask = _unless_all(self.mask.joined(other.mask)) if self.mask and other.mask else None
            return Along(self.line, self.steps, mask)
        if self.mask == other.mask:
            line = self.line.joined(other.line)
            return None if line is None else Along(line, self.steps, self.mask)
        for one, two in ((self, other), (other, self)):
            if one.mask is None and one.line.joined(two.line) == one.line:
                return one
        return None


@dataclass(frozen=True)
class Table:
    """The unit at each index of a grid sees the pixels from `low` up to below `high`; the grid holds -low and high."""

    grid: Grid

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

    def split(self, atom: Atom, outer: Atom, inner: Atom) -> "Term":
        return Table(self.grid.split(atom, outer, inner))

    def fused(self, atoms: tuple[Atom, ...], whole: Atom) -> "Term":
        return Table(self.grid.fused(atoms, whole))

    def through(self, old: Atom, new: Atom, taps: Taps) -> "Term":
        return Table(self.grid.through(old, new, taps))

    def selected(self, old: Atom, start: int, steps: dict[Atom, int]) -> "Term":
        return Table(self.grid.taken(old, tuple(steps), counting(start, steps)))

    def rearranged(self, old: Atom, new: Atom, order: np.ndarray) -> "Term":
        return Table(self.grid.taken(old, (new,), order))

    def without(self, gone: set[Atom], extent: int) -> "Term":
        if not gone & set(self.atoms):
            return self
        grid = self.grid.without(gone)
        return Table(grid) if grid.atoms else Along(_cut_off(-int(grid.values[0]), int(grid.values[1]), extent), {})

    def renamed(self, names: dict[Atom, Atom]) -> "Term":
        return Table(self.grid.renamed(names))

    def joined(self, other: "Term") -> "Term | None":
        if isinstance(other, Table) and set(self.atoms) == set(other.atoms):
            return Table(self.grid.joined(other.grid))
        return None


Term = Along | Table
Terms = tuple[Term, ...]
"""What a unit sees is the hull of what each term says; no terms: nothing."""


def join(terms: Iterable[Term], extent: int) -> Terms:
    """The same terms, or fewer that say the same."""
    kept: list[Term] = []
    for term in terms:
        if term.is_blind():
            continue
        if term.covers(extent):
            return (Along(still_line(0, extent), {}),)
        if isinstance(term, Along) and len(term.steps) == 1:
            (atom, step) = next(iter(term.steps.items()))
            term = term if step == 1 else Along(term.line.every(step), {atom: 1}, term.mask)
        for place, other in enumerate(kept):
            if (both := term.joined(other)) is not None:
                kept[place] = both
                break
        else:
            kept.append(term)
    return tuple(kept)


def tabulated(terms: Terms, atoms: tuple[Atom, ...]) -> Grid:
    """All terms as one grid of -low and high over `atoms`, blind where they say nothing."""
    grid = constant(-FAR, -FAR).over(atoms)
    for term in terms:
        grid = grid.joined(term.table().grid)
    return grid


def fused_line(line: Line, steps: dict[Atom, int], atoms: tuple[Atom, ...]) -> Line:
    """A line along the flattened index of atoms, the first of which moves slowest."""
    outer, *inner = atoms
    seen = []
    for turn in range(len(line.lows)):
        for index in np.ndindex(*(atom.size for atom in inner)):
            place = sum(steps.get(atom, 0) * i for atom, i in zip(inner, index, strict=True))
            seen.append(line.see(turn * steps.get(outer, 0) + place))
    return shortest_line(seen, line.shift * steps.get(outer, 0))


def _unless_all(mask: Grid) -> Grid | None:
    """A mask, or None where it lets everything through."""
    return None if (mask.values >= 0).all() else mask


def _cut_off(low: int, high: int, extent: int) -> Line:
    """What all units see alike, cut off at the image."""
    return still_line(max(low, 0), min(high, extent))
