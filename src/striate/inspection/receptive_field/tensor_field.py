"""What each unit of a tensor sees of the image, while its dimensions are regrouped, selected, put together and joined.

Height and width are followed apart. A tensor's dimensions are made of atoms: reshaping, transposing and flattening
regroup them, and no pixel is lost from sight.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from striate.inspection.receptive_field.axis_field import Along, Table, Term, Terms, join
from striate.inspection.receptive_field.index_grid import Atom, constant, size_of
from striate.inspection.receptive_field.intervals import Line, Taps

Dims = Sequence[tuple[Atom, ...]]


@dataclass(frozen=True)
class Sight:
    """What each unit of a tensor sees: the atoms of its dimensions, and the terms for the image's height and width.

    `extents` are the image's height and width in pixels.
    """

    dims: tuple[tuple[Atom, ...], ...]
    axes: tuple[Terms, Terms]
    extents: tuple[int, int]

    def carried(self) -> set[Atom]:
        """The atoms along which units see differently."""
        return {atom for terms in self.axes for term in terms for atom in term.atoms}

    def with_dims(self, dims: Dims) -> "Sight":
        """The same units, their dimensions regrouped."""
        return Sight(tuple(dims), self.axes, self.extents)

    def with_dim(self, dim: int, atoms: tuple[Atom, ...]) -> "Sight":
        """The same units, one dimension regrouped."""
        return Sight((*self.dims[:dim], atoms, *self.dims[dim + 1 :]), self.axes, self.extents)

    def mapped(self, atoms: Iterable[Atom], change: Callable[[Term], Term]) -> "Sight":
        """With every term changed that runs along any of the atoms; those that then say nothing are left out."""
        touched = set(atoms)
        changed = ([change(term) if touched & set(term.atoms) else term for term in terms] for terms in self.axes)
        height, width = (tuple(term for term in terms if not term.is_blind()) for terms in changed)
        return Sight(self.dims, (height, width), self.extents)


def sight_of_image(shape: Sequence[int]) -> Sight:
    """Of a batch of images (N, C, H, W): every pixel sees itself."""
    height, width = Atom(shape[-2]), Atom(shape[-1])
    own = Line((0,), (1,), 1)
    dims = (*(fresh(size) for size in shape[:-2]), (height,), (width,))
    return Sight(dims, ((Along(own, {height: 1}),), (Along(own, {width: 1}),)), (shape[-2], shape[-1]))


def blank(shape: Sequence[int], extents: tuple[int, int]) -> Sight:
    """Of a tensor that does not depend on the image."""
    return Sight(tuple(fresh(size) for size in shape), ((), ()), extents)


def fresh(size: int) -> tuple[Atom, ...]:
    """The atoms of a dimension that no other tensor runs along: none if it has but one step."""
    return () if size == 1 else (Atom(size),)


def split(sight: Sight, atom: Atom, outer: Atom, inner: Atom) -> Sight:
    """With an atom taken apart into two, as a reshape does."""
    dims = [tuple(new for old in atoms for new in ((outer, inner) if old is atom else (old,))) for atoms in sight.dims]
    return sight.mapped([atom], lambda term: term.split(atom, outer, inner)).with_dims(dims)


def fuse(sight: Sight, dim: int) -> Sight:
    """With the atoms of a dimension made into one."""
    atoms = sight.dims[dim]
    if len(atoms) < 2:
        return sight
    whole = Atom(size_of(atoms))
    return sight.mapped(atoms, lambda term: term.fused(atoms, whole)).with_dim(dim, (whole,))


def through(sight: Sight, dim: int, taps: Taps, size: int) -> Sight:
    """With `size` units along a dimension that look at the units there are now."""
    if not sight.carried() & set(sight.dims[dim]):
        return sight.with_dim(dim, fresh(size))
    sight, new = fuse(sight, dim), Atom(size)
    (old,) = sight.dims[dim]
    return sight.mapped([old], lambda term: term.through(old, new, taps)).with_dim(dim, (new,))


def selected(sight: Sight, dim: int, start: int, steps: dict[Atom, int]) -> Sight:
    """With unit `start + sum(step * i)` of a dimension at index i of each new atom."""
    if not sight.carried() & set(sight.dims[dim]):
        return sight.with_dim(dim, tuple(steps))
    sight = fuse(sight, dim)
    (old,) = sight.dims[dim]
    return sight.mapped([old], lambda term: term.selected(old, start, steps)).with_dim(dim, tuple(steps))


def rearranged(sight: Sight, dim: int, order: Sequence[int]) -> Sight:
    """With unit `order[i]` of a dimension at index i."""
    if not sight.carried() & set(sight.dims[dim]):
        return sight.with_dim(dim, fresh(len(order)))
    sight, new = fuse(sight, dim), Atom(len(order))
    (old,) = sight.dims[dim]
    return sight.mapped([old], lambda term: term.rearranged(old, new, np.array(order))).with_dim(dim, (new,))


def reduced(sight: Sight, dims: Iterable[int]) -> Sight:
    """With each unit seeing what all units along the given dimensions see; those have no atoms any more."""
    going = set(dims)
    gone = {atom for dim in going for atom in sight.dims[dim]}
    kept = tuple(() if dim in going else atoms for dim, atoms in enumerate(sight.dims))
    if not gone & sight.carried():
        return sight.with_dims(kept)
    height, width = (
        join([term.without(gone, extent) for term in terms], extent)
        for terms, extent in zip(sight.axes, sight.extents, strict=True)
    )
    return Sight(kept, (height, width), sight.extents)


def joined(sights: Sequence[Sight], shape: Sequence[int]) -> Sight:
    """Of the units of tensors broadcast to `shape`, each of which sees what those it is made of see."""
    sights = aligned(sights, shape)
    seeing = [sight for sight in sights if any(sight.axes)]
    if len(seeing) == 1:
        return seeing[0]
    extents = sights[0].extents
    height, width = (join([term for sight in seeing for term in sight.axes[axis]], extents[axis]) for axis in (0, 1))
    return Sight(sights[0].dims, (height, width), extents)


def aligned(sights: Sequence[Sight], shape: Sequence[int]) -> list[Sight]:
    """The same tensors broadcast to `shape` and running along the same atoms."""
    sights = [sight.with_dims([*([()] * (len(shape) - len(sight.dims))), *sight.dims]) for sight in sights]
    carried = [sight.carried() for sight in sights]
    for dim, size in enumerate(shape):
        matters = [i for i, sight in enumerate(sights) if carried[i] & set(sight.dims[dim])]
        for i in matters:
            if size_of(sights[i].dims[dim]) < size:  # broadcast: one unit for all
                sights[i] = reduced(sights[i], [dim])
        matters = [i for i in matters if sights[i].dims[dim]]
        atoms = sights[matters[0]].dims[dim] if matters else fresh(size)
        if any([atom.size for atom in sights[i].dims[dim]] != [atom.size for atom in atoms] for i in matters):
            for i in matters:
                sights[i] = fuse(sights[i], dim)
                carried[i] = sights[i].carried()
            atoms = sights[matters[0]].dims[dim]
        for i in matters[1:]:
            if sights[i].dims[dim] != atoms:
                sights[i] = _renamed(sights[i], dict(zip(sights[i].dims[dim], atoms, strict=True)))
                carried[i] = sights[i].carried()
        sights = [sight.with_dim(dim, atoms) for sight in sights]
    return sights


def _renamed(sight: Sight, names: dict[Atom, Atom]) -> Sight:
    """With terms along other atoms of the same sizes."""
    return sight.mapped(names, lambda term: term.renamed(names))


def put_together(sights: Sequence[Sight], sizes: Sequence[int], dim: int, shape: Sequence[int]) -> Sight:
    """Side by side along a dimension, `sizes` units of each, to a tensor of `shape`."""
    sights = [fuse(sight, dim) for sight in sights]
    own = [(*sight.dims[dim], Atom(size))[0] for sight, size in zip(sights, sizes, strict=True)]
    whole = Atom(shape[dim])
    rest = [*shape[:dim], 1, *shape[dim + 1 :]]
    sights = aligned([sight.with_dim(dim, ()) for sight in sights], rest)
    extents = sights[0].extents
    axes = [_beside([sight.axes[axis] for sight in sights], own, whole, extents[axis]) for axis in (0, 1)]
    return Sight(sights[0].with_dim(dim, (whole,)).dims, (axes[0], axes[1]), extents)


def _beside(parts: Sequence[Terms], own: Sequence[Atom], whole: Atom, extent: int) -> Terms:
    """The terms of several parts, each along its own atom, along the one that they make up."""
    if all(terms == parts[0] for terms in parts) and not any(set(own) & set(term.atoms) for term in parts[0]):
        return parts[0]
    is_placed = any(
        atom in term.steps or (isinstance(term, Table) and atom in term.atoms)
        for terms, atom in zip(parts, own, strict=True)
        for term in terms
    )
    placed: list[Term] = []
    start = 0
    for atom, terms in zip(own, parts, strict=True):
        for term in terms:
            if isinstance(term, Along) and not is_placed:
                mask = (term.mask or constant(0)).placed(atom, whole, start)
                placed.append(Along(term.line, term.steps, mask))
            else:
                placed.append(Table(term.table().grid.placed(atom, whole, start)))
        start += atom.size
    return join(placed, extent)
