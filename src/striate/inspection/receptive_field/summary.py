"""The receptive field of a layer: size, stride and offset, from what the units of its output see.

sight.py follows what tensors see, field_rules.py what operators make of it.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from striate.inspection.receptive_field.axis_field import AxisFields, StridedField, fused_interval, join, tabulated
from striate.inspection.receptive_field.index_grid import check_cells
from striate.inspection.receptive_field.tensor_field import TensorField


@dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that one unit of a layer's output can see, (height, width) each, in pixels.

    `size` is that of the unit that sees most, not cut off at the image's border; 0 where a unit sees nothing of the
    image. `stride` is how far the field moves from one unit to the next, and `offset` is the centre of the first unit's
    field where the image spans 0 to H and 0 to W, so that the first pixel's centre is at 0.5. Where every unit sees the
    same, the stride is 0 and the size that part of the image which is really there. Where fields differ in a
    repeating pattern, as after upsampling, the stride is the average. None: units do not stand in an even row.
    Channels at one place count together, the one that sees most.
    """

    size: tuple[int, int]
    stride: tuple[float | None, float | None]
    offset: tuple[float | None, float | None]


def receptive_field(field: TensorField) -> ReceptiveField:
    """Size, stride and offset. Raises UnknownField where units are too many to compare."""
    (height, *of_height), (width, *of_width) = _describe_axis(field, 0), _describe_axis(field, 1)
    return ReceptiveField((height, width), (of_height[0], of_width[0]), (of_height[1], of_width[1]))


def _describe_axis(field: TensorField, axis: int) -> tuple[int, float | None, float | None]:
    """Size, stride and offset along one axis of the image."""
    extent = field.extents[axis]
    terms = _of_all_channels(field.axes[axis], extent)
    if not terms:
        return 0, 0, None
    if len(terms) == 1 and isinstance(terms[0], StridedField):
        return _describe_line(field, terms[0], field.axes[1 - axis])
    atoms = tuple(dict.fromkeys(atom for term in terms for atom in term.atoms))
    check_cells(atoms)
    grid = tabulated(terms, atoms)
    if any(not term.atoms for term in terms):  # all units see this much: no field is the theoretical one any more
        grid = type(grid)(atoms, np.minimum(grid.values, (0, extent)))
    sizes = grid.values.sum(axis=-1)
    size = max(0, int(sizes.max()))
    centres = grid.values[..., 1] - grid.values[..., 0]
    if len(atoms) == 1 and len(centres) > 1 and (sizes > 0).all() and len(set(np.diff(centres))) == 1:
        stride = _plain(Fraction(int(centres[1] - centres[0]), 2))
        return size, stride, _plain(Fraction(int(centres[0]), 2))
    return size, None, None


def _of_all_channels(terms: AxisFields, extent: int) -> AxisFields:
    """The terms with all channels at one place taken together."""
    placed = {atom for term in terms for atom in term.steps}
    channels = {atom for term in terms for atom in term.mask_atoms} - placed
    return join([term.without(channels, extent) for term in terms], extent) if channels else terms


def _describe_line(
    field: TensorField, term: StridedField, others: AxisFields
) -> tuple[int, float | None, float | None]:
    size = max(0, *(high - low for low, high in zip(term.line.lows, term.line.highs, strict=True)))
    low, high = term.line.see(0)
    if not term.steps:
        return size, 0, _plain(Fraction(low + high, 2)) if low < high else None
    dims = [atoms for atoms in field.dims if set(atoms) & set(term.steps)]
    if len(dims) > 1 or (not dims and len(term.steps) > 1):
        return size, None, None
    along = list(dims[0] if dims else term.steps)
    if {atom for other in others for atom in other.atoms} & set(along):
        along = [atom for atom in along if atom in term.steps]  # height and width in one: neighbours along this alone
    while along[0] not in term.steps:  # channels, say, before the places of each
        along.pop(0)
    spans = [atom for atom in along if atom.size > 1] or along
    line = fused_interval(term.line, term.steps, tuple(spans))
    low, high = line.see(0)
    offset = _plain(Fraction(low + high, 2)) if low < high else None
    return size, _plain(Fraction(line.shift, len(line.lows))), offset


def _plain(number: Fraction) -> float:
    return int(number) if number.denominator == 1 else float(number)
