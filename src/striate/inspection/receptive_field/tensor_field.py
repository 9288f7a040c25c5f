"""Receptive fields of all units of a tensor, while its dimensions are reshaped, selected, concatenated and combined.

Height and width are followed apart. A tensor's dimensions are made of atoms: reshaping, transposing and flattening
regroup them, and no pixel is lost from sight.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from striate.inspection.receptive_field.axis_field import AxisField, AxisFields, StridedField, Table, join
from striate.inspection.receptive_field.index_grid import Atom, constant, size_of
from striate.inspection.receptive_field.intervals import Interval, Taps

Dims = Sequence[tuple[Atom, ...]]


@dataclass(frozen=True)
class TensorField:
    """What each unit of a tensor sees: the atoms of its dimensions, and the terms for the image's height and width.

    `extents` are the image's height and width in pixels.
    """

    dims: tuple[tuple[Atom, ...], ...]
    axes: tuple[AxisFields, AxisFields]
    extents: tuple[int, int]

    def carried(self) -> set[Atom]:
        """The atoms along which units see differently."""
        return {atom for terms in self.axes for term in terms for atom in term.atoms}

    def with_dims(self, dims: Dims) -> "TensorField":
        """The same units, their dimensions regrouped."""
        return TensorField(tuple(dims), self.axes, self.extents)

    def with_dim(self, dim: int, atoms: tuple[Atom, ...]) -> "TensorField":
        """The same units, one dimension regrouped."""
        return TensorField((*self.dims[:dim], atoms, *self.dims[dim + 1 :]), self.axes, self.extents)

    def mapped(self, atoms: Iterable[Atom], change: Callable[[AxisField], AxisField]) -> "TensorField":
        """With every term changed that runs along any of the atoms; those that then say nothing are left out."""
        touched = set(atoms)
        changed = ([change(term) if touched & set(term.atoms) else term for term in terms] for terms in self.axes)
        height, width = (tuple(term for term in terms if not term.is_blind()) for terms in changed)
        return TensorField(self.dims, (height, width), self.extents)


def field_of_image(shape: Sequence[int]) -> TensorField:
    """Of a batch of images (N, C, H, W): every pixel sees itself."""
    height, width = Atom(shape[-2]), Atom(shape[-1])
    own = Interval((0,), (1,), 1)
    dims = (*(fresh(size) for size in shape[:-2]), (height,), (width,))
    return TensorField(
        dims, ((StridedField(own, {height: 1}),), (StridedField(own, {width: 1}),)), (shape[-2], shape[-1])
    )


def blank(shape: Sequence[int], extents: tuple[int, int]) -> TensorField:
    """Of a tensor that does not depend on the image."""
    return TensorField(tuple(fresh(size) for size in shape), ((), ()), extents)


def fresh(size: int) -> tuple[Atom, ...]:
    """The atoms of a dimension that no other tensor runs along: none if it has but one step."""
    return () if size == 1 else (Atom(size),)


def split(field: TensorField, atom: Atom, outer: Atom, inner: Atom) -> TensorField:
    """With an atom taken apart into two, as a reshape does."""
    dims = [tuple(new for old in atoms for new in ((outer, inner) if old is atom else (old,))) for atoms in field.dims]
    return field.mapped([atom], lambda term: term.split(atom, outer, inner)).with_dims(dims)


def fuse(field: TensorField, dim: int) -> TensorField:
    """With the atoms of a dimension made into one."""
    atoms = field.dims[dim]
    if len(atoms) < 2:
        return field
    whole = Atom(size_of(atoms))
    return field.mapped(atoms, lambda term: term.fused(atoms, whole)).with_dim(dim, (whole,))


def through(field: TensorField, dim: int, taps: Taps, size: int) -> TensorField:
    """With `size` units along a dimension that look at the units there are now."""
    if not field.carried() & set(field.dims[dim]):
        return field.with_dim(dim, fresh(size))
    field, new = fuse(field, dim), Atom(size)
    (old,) = field.dims[dim]
    return field.mapped([old], lambda term: term.through(old, new, taps)).with_dim(dim, (new,))


def selected(field: TensorField, dim: int, start: int, steps: dict[Atom, int]) -> TensorField:
    """With unit `start + sum(step * i)` of a dimension at index i of each new atom."""
    if not field.carried() & set(field.dims[dim]):
        return field.with_dim(dim, tuple(steps))
    field = fuse(field, dim)
    (old,) = field.dims[dim]
    return field.mapped([old], lambda term: term.selected(old, start, steps)).with_dim(dim, tuple(steps))


def rearranged(field: TensorField, dim: int, order: Sequence[int]) -> TensorField:
    """With unit `order[i]` of a dimension at index i."""
    if not field.carried() & set(field.dims[dim]):
        return field.with_dim(dim, fresh(len(order)))
    field, new = fuse(field, dim), Atom(len(order))
    (old,) = field.dims[dim]
    return field.mapped([old], lambda term: term.rearranged(old, new, np.array(order))).with_dim(dim, (new,))


def reduced(field: TensorField, dims: Iterable[int]) -> TensorField:
    """With each unit seeing what all units along the given dimensions see; those have no atoms any more."""
    going = set(dims)
    gone = {atom for dim in going for atom in field.dims[dim]}
    kept = tuple(() if dim in going else atoms for dim, atoms in enumerate(field.dims))
    if not gone & field.carried():
        return field.with_dims(kept)
    height, width = (
        join([term.without(gone, extent) for term in terms], extent)
        for terms, extent in zip(field.axes, field.extents, strict=True)
    )
    return TensorField(kept, (height, width), field.extents)


def joined(fields: Sequence[TensorField], shape: Sequence[int]) -> TensorField:
    """Of the units of tensors broadcast to `shape`, each of which sees what those it is made of see."""
    fields = aligned(fields, shape)
    seeing = [field for field in fields if any(field.axes)]
    if len(seeing) == 1:
        return seeing[0]
    extents = fields[0].extents
    height, width = (join([term for field in seeing for term in field.axes[axis]], extents[axis]) for axis in (0, 1))
    return TensorField(fields[0].dims, (height, width), extents)


def aligned(fields: Sequence[TensorField], shape: Sequence[int]) -> list[TensorField]:
    """The same tensors broadcast to `shape` and running along the same atoms."""
    fields = [field.with_dims([*([()] * (len(shape) - len(field.dims))), *field.dims]) for field in fields]
    carried = [field.carried() for field in fields]
    for dim, size in enumerate(shape):
        matters = [i for i, field in enumerate(fields) if carried[i] & set(field.dims[dim])]
        for i in matters:
            if size_of(fields[i].dims[dim]) < size:  # broadcast: one unit for all
                fields[i] = reduced(fields[i], [dim])
        matters = [i for i in matters if fields[i].dims[dim]]
        atoms = fields[matters[0]].dims[dim] if matters else fresh(size)
        if any([atom.size for atom in fields[i].dims[dim]] != [atom.size for atom in atoms] for i in matters):
            for i in matters:
                fields[i] = fuse(fields[i], dim)
                carried[i] = fields[i].carried()
            atoms = fields[matters[0]].dims[dim]
        for i in matters[1:]:
            if fields[i].dims[dim] != atoms:
                fields[i] = _renamed(fields[i], dict(zip(fields[i].dims[dim], atoms, strict=True)))
                carried[i] = fields[i].carried()
        fields = [field.with_dim(dim, atoms) for field in fields]
    return fields


def _renamed(field: TensorField, names: dict[Atom, Atom]) -> TensorField:
    """With terms along other atoms of the same sizes."""
    return field.mapped(names, lambda term: term.renamed(names))


def put_together(fields: Sequence[TensorField], sizes: Sequence[int], dim: int, shape: Sequence[int]) -> TensorField:
    """Side by side along a dimension, `sizes` units of each, to a tensor of `shape`."""
    fields = [fuse(field, dim) for field in fields]
    own = [(*field.dims[dim], Atom(size))[0] for field, size in zip(fields, sizes, strict=True)]
    whole = Atom(shape[dim])
    rest = [*shape[:dim], 1, *shape[dim + 1 :]]
    fields = aligned([field.with_dim(dim, ()) for field in fields], rest)
    extents = fields[0].extents
    axes = [_beside([field.axes[axis] for field in fields], own, whole, extents[axis]) for axis in (0, 1)]
    return TensorField(fields[0].with_dim(dim, (whole,)).dims, (axes[0], axes[1]), extents)


def _beside(parts: Sequence[AxisFields], own: Sequence[Atom], whole: Atom, extent: int) -> AxisFields:
    """The terms of several parts, each along its own atom, along the one that they make up."""
    if all(terms == parts[0] for terms in parts) and not any(set(own) & set(term.atoms) for term in parts[0]):
        return parts[0]
    is_placed = any(
        atom in term.steps or (isinstance(term, Table) and atom in term.atoms)
        for terms, atom in zip(parts, own, strict=True)
        for term in terms
    )
    placed: list[AxisField] = []
    start = 0
    for atom, terms in zip(own, parts, strict=True):
        for term in terms:
            if isinstance(term, StridedField) and not is_placed:
                mask = (term.mask or constant(0)).placed(atom, whole, start)
                placed.append(StridedField(term.line, term.steps, mask))
            else:
                placed.append(Table(term.table().grid.placed(atom, whole, start)))
        start += atom.size
    return join(placed, extent)
