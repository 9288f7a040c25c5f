"""Values for every unit of a tensor, along the atoms that its dimensions are made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np

from striate.inspection.receptive_field.intervals import FAR, Taps, UnknownField

_MOST_CELLS = 4_000_000
"""More are not worth their memory."""


class Atom:
    """One index of `size` steps. Tensors that share an atom run along it together."""

    def __init__(self, size: int) -> None:
        self.size = size


def size_of(atoms: Iterable[Atom]) -> int:
    """Steps of the dimension that atoms make up."""
    return prod(atom.size for atom in atoms)


def check_cells(atoms: Iterable[Atom]) -> None:
    """Raise UnknownField where a grid over these atoms would be too large."""
    if (num_cells := size_of(atoms)) > _MOST_CELLS:
        raise UnknownField(f"makes {num_cells:,} units that each see something else")


@dataclass(frozen=True, eq=False)
class IndexGrid:
    """Some values for each index of the atoms: an axis for each of these, then one for the values.

    Where units are joined the larger value counts, and where there is no unit the value is -FAR.
    """

    atoms: tuple[Atom, ...]
    values: np.ndarray

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, IndexGrid)
            and set(self.atoms) == set(other.atoms)
            and bool((self.values == other.over(self.atoms).values).all())
        )

    def over(self, atoms: tuple[Atom, ...]) -> "IndexGrid":
        """The same over `atoms`, all of its own among them, in that order."""
        if atoms == self.atoms:
            return self
        check_cells(atoms)
        order = [self.atoms.index(atom) for atom in atoms if atom in self.atoms]
        places = tuple(slice(None) if atom in self.atoms else None for atom in atoms)
        values = self.values.transpose([*order, len(order)])[places]
        return IndexGrid(atoms, np.broadcast_to(values, [*(atom.size for atom in atoms), values.shape[-1]]))

    def joined(self, other: "IndexGrid") -> "IndexGrid":
        """The larger values of the two, over the atoms of both."""
        atoms = (*self.atoms, *(atom for atom in other.atoms if atom not in self.atoms))
        return IndexGrid(atoms, np.maximum(self.over(atoms).values, other.over(atoms).values))

    def split(self, atom: Atom, outer: Atom, inner: Atom) -> "IndexGrid":
        """With an atom taken apart into two."""
        place, shape = self.atoms.index(atom), self.values.shape
        values = self.values.reshape([*shape[:place], outer.size, inner.size, *shape[place + 1 :]])
        return IndexGrid((*self.atoms[:place], outer, inner, *self.atoms[place + 1 :]), values)

    def fused(self, atoms: tuple[Atom, ...], whole: Atom) -> "IndexGrid":
        """With several atoms, some of its own among them, made into one."""
        rest = tuple(atom for atom in self.atoms if atom not in atoms)
        values = self.over((*rest, *atoms)).values
        return IndexGrid((*rest, whole), values.reshape([*values.shape[: len(rest)], whole.size, values.shape[-1]]))

    def through(self, old: Atom, new: Atom, taps: Taps) -> "IndexGrid":
        """With units that look at the units there are, and not beyond the ends of their row."""
        rest, values = self._last(old)
        looking = np.full((*values.shape[:-2], new.size, values.shape[-1]), -FAR)
        for unit in range(new.size):
            if inside := [tap for tap in taps.of(unit) if 0 <= tap < old.size]:
                looking[..., unit, :] = values[..., inside, :].max(axis=-2)
        return IndexGrid((*rest, new), looking)

    def taken(self, old: Atom, atoms: tuple[Atom, ...], units: np.ndarray) -> "IndexGrid":
        """With the old atom's `units`, an array with an axis for each new atom, in its place."""
        rest, values = self._last(old)
        is_there = (units >= 0) & (units < old.size)
        chosen = values[..., np.clip(units, 0, old.size - 1), :]
        return IndexGrid((*rest, *atoms), np.where(is_there[..., None], chosen, -FAR))

    def placed(self, old: Atom, whole: Atom, start: int) -> "IndexGrid":
        """With an atom's units from `start` on along a longer one, and no units around them."""
        atoms = self.atoms if old in self.atoms else (*self.atoms, old)
        rest, values = self.over(atoms)._last(old)
        wide = np.full((*values.shape[:-2], whole.size, values.shape[-1]), -FAR)
        wide[..., start : start + old.size, :] = values
        return IndexGrid((*rest, whole), wide)

    def without(self, gone: set[Atom]) -> "IndexGrid":
        """With the units along some atoms joined."""
        places = tuple(place for place, atom in enumerate(self.atoms) if atom in gone)
        return IndexGrid(tuple(atom for atom in self.atoms if atom not in gone), self.values.max(axis=places))

    def renamed(self, names: dict[Atom, Atom]) -> "IndexGrid":
        """With atoms exchanged for others of the same sizes."""
        return IndexGrid(tuple(names.get(atom, atom) for atom in self.atoms), self.values)

    def _last(self, atom: Atom) -> tuple[tuple[Atom, ...], np.ndarray]:
        """The values with one atom's axis after the others, and those other atoms."""
        rest = tuple(other for other in self.atoms if other is not atom)
        return rest, self.over((*rest, atom)).values


def constant(*values: int) -> IndexGrid:
    """The same values for every unit of any tensor."""
    return IndexGrid((), np.array(values))


def counting(start: int, steps: dict[Atom, int]) -> np.ndarray:
    """The numbers `start + sum(step * i)`, with an axis for each atom's index i."""
    check_cells(steps)
    numbers = np.full((), start)
    for atom, step in steps.items():
        numbers = numbers[..., None] + step * np.arange(atom.size)
    return numbers
