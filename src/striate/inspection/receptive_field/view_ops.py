"""Receptive fields through views: reshape, transpose, select and concatenate operators."""

from collections.abc import Sequence

from striate.inspection.receptive_field.index_grid import Atom, size_of
from striate.inspection.receptive_field.intervals import UnknownField
from striate.inspection.receptive_field.operator_call import Call, Rule
from striate.inspection.receptive_field.tensor_field import (
    TensorField,
    blank,
    fresh,
    fuse,
    joined,
    put_together,
    rearranged,
    reduced,
    selected,
    split,
)


def _view(call: Call) -> TensorField:
    return regrouped(call.first, call.shape)


def regrouped(field: TensorField, shape: Sequence[int]) -> TensorField:
    """The same units in the same order, over dimensions of another shape."""
    waiting = [atom for atoms in field.dims for atom in atoms]
    dims: list[tuple[Atom, ...]] = []
    field = field.with_dims([tuple(waiting)])
    for size in shape:
        needed = size
        group: list[Atom] = []
        while needed > 1:
            atom = waiting.pop(0)
            while needed % atom.size and atom.size % needed:  # fits neither way: take more, as one
                atom, waiting, field = _fuse_first(field, [*(a for g in dims for a in g), *group], [atom, *waiting])
            if needed % atom.size == 0:
                group.append(atom)
                needed //= atom.size
            else:
                outer, inner = Atom(needed), Atom(atom.size // needed)
                field = split(field, atom, outer, inner)
                group.append(outer)
                waiting.insert(0, inner)
                needed = 1
        dims.append(tuple(group))
    if waiting:  # of one step each: they hang on to their neighbours
        dims = [*dims[:-1], (*dims[-1], *waiting)] if dims else dims
    return field.with_dims(dims)


def _fuse_first(field: TensorField, done: list[Atom], waiting: list[Atom]) -> tuple[Atom, list[Atom], TensorField]:
    """With the first two waiting atoms made one."""
    pair, rest = tuple(waiting[:2]), waiting[2:]
    fused = fuse(field.with_dims([tuple(done), pair, tuple(rest)]), 1)
    (whole,) = fused.dims[1]
    return whole, rest, fused.with_dims([(*done, whole, *rest)])


def _same(call: Call) -> list[TensorField]:
    return [call.first] * 2


def _permute(call: Call) -> TensorField:
    field = call.first
    return field.with_dims([field.dims[dim] for dim in call.dims("dims")])


def _transpose(call: Call) -> TensorField:
    field = call.first
    dims = list(field.dims)
    if len(dims) > 1:
        one, other = (call.dim("dim0"), call.dim("dim1")) if "dim0" in call.given else (0, 1)
        dims[one], dims[other] = dims[other], dims[one]
    return field.with_dims(dims)


def _unsqueeze(call: Call) -> TensorField:
    dims = list(call.first.dims)
    dims.insert(call["dim"] % (len(dims) + 1), ())
    return call.first.with_dims(dims)


def _squeeze(call: Call) -> TensorField:
    """Left-out dimensions of one step leave their atoms, if any, to a neighbour."""
    field = call.first
    gone = [dim for dim in call.dims() if size_of(field.dims[dim]) == 1]
    dims: list[tuple[Atom, ...]] = []
    left: tuple[Atom, ...] = ()
    for dim, atoms in enumerate(field.dims):
        if dim in gone:
            left += atoms
        else:
            dims.append((*left, *atoms))
            left = ()
    if left and dims:
        dims[-1] += left
    return field.with_dims(dims)


def _expand(call: Call) -> TensorField:
    return joined([call.first], call.shape)


def _repeat(call: Call) -> TensorField:
    field = call.first
    dims = [*([()] * (len(call.shape) - len(field.dims))), *field.dims]
    return field.with_dims([(*fresh(times), *atoms) for times, atoms in zip(call["repeats"], dims, strict=True)])


def _pixel_shuffle(call: Call) -> TensorField:
    """(..., C * r * r, H, W) -> (..., C, H * r, W * r)."""
    field, factor = call.first, call["upscale_factor"]
    *batch, channels, height, width = [size_of(atoms) for atoms in field.dims]
    apart = regrouped(field, [*batch, channels // factor**2, factor, factor, height, width])
    *others, maps, down, right, rows, columns = apart.dims
    return apart.with_dims([*others, maps, (*rows, *down), (*columns, *right)])


def _pixel_unshuffle(call: Call) -> TensorField:
    """(..., C, H * r, W * r) -> (..., C * r * r, H, W)."""
    field, factor = call.first, call["downscale_factor"]
    *batch, channels, height, width = [size_of(atoms) for atoms in field.dims]
    apart = regrouped(field, [*batch, channels, height // factor, factor, width // factor, factor])
    *others, maps, rows, down, columns, right = apart.dims
    return apart.with_dims([*others, (*maps, *down, *right), rows, columns])


def _channel_shuffle(call: Call) -> TensorField:
    field, groups = call.first, call["groups"]
    sizes = [size_of(atoms) for atoms in field.dims]
    apart = regrouped(field, [sizes[0], groups, sizes[1] // groups, *sizes[2:]])
    batch, outer, inner, *places = apart.dims
    return apart.with_dims([batch, (*inner, *outer), *places])


# selecting


def _slice(call: Call) -> TensorField:
    dim, step = call.dim(), call["step"] or 1
    size = size_of(call.first.dims[dim])
    start = min(max(0, (call["start"] or 0) + (size if (call["start"] or 0) < 0 else 0)), size)
    return sliced(call.first, dim, start, call.shape[dim], step)


def sliced(field: TensorField, dim: int, start: int, size: int, step: int = 1) -> TensorField:
    """`size` units along a dimension, from `start` on, every `step`-th."""
    atoms = field.dims[dim]
    if (start, step) == (0, 1) and size == size_of(atoms):
        return field
    if step == 1 and len(atoms) > 1 and not (start % (inner := size_of(atoms[1:])) or size % inner):
        apart = field.with_dims([*field.dims[:dim], atoms[:1], atoms[1:], *field.dims[dim + 1 :]])
        part = sliced(apart, dim, start // inner, size // inner)
        return part.with_dims([*part.dims[:dim], (*part.dims[dim], *part.dims[dim + 1]), *part.dims[dim + 2 :]])
    return selected(field, dim, start, {Atom(size): step})


def _select(call: Call) -> TensorField:
    dim = call.dim()
    return _selected(call.first, dim, call["index"] % size_of(call.first.dims[dim]))


def _selected(field: TensorField, dim: int, index: int) -> TensorField:
    one = reduced(sliced(field, dim, index, 1), [dim])
    return one.with_dims([*one.dims[:dim], *one.dims[dim + 1 :]])


def _split(call: Call) -> list[TensorField]:
    """Into parts side by side, whose sizes are read from the outputs."""
    dim, start, parts = call.dim(), 0, []
    for output in call.output:
        parts.append(sliced(call.first, dim, start, output.shape[dim]))
        start += output.shape[dim]
    return parts


def _unbind(call: Call) -> list[TensorField]:
    return [_selected(call.first, call.dim(), index) for index in range(len(call.output))]


def _flip(call: Call) -> TensorField:
    field = call.first
    for dim in call.dims("dims"):
        if (size := size_of(field.dims[dim])) > 1:
            field = selected(field, dim, size - 1, {Atom(size): -1})
    return field


def _roll(call: Call) -> TensorField:
    """The unit at each index comes from `shift` before it, round the end."""
    field = call.first
    if not call["dims"]:
        raise UnknownField("rolls over all dimensions at once")
    for dim, shift in zip(call.dims("dims"), call["shifts"], strict=True):
        size = size_of(field.dims[dim])
        if size > 1:
            field = rearranged(field, dim, [(unit - shift) % size for unit in range(size)])
    return field


def _index_select(call: Call) -> TensorField:
    dim, field = call.dim(), call.first
    if field.carried() & set(field.dims[dim]):
        raise UnknownField("takes units by numbers that are not known")
    return field.with_dims([*field.dims[:dim], fresh(call.shape[dim]), *field.dims[dim + 1 :]])


def _cat(call: Call) -> TensorField:
    tensors = [tensor for tensor in call["tensors"] if tensor.shape != (0,)]  # which PyTorch passes over
    dim = (call["dim"] or 0) % tensors[0].ndim
    return put_together([call.look(each) for each in tensors], [each.shape[dim] for each in tensors], dim, call.shape)


def _stack(call: Call) -> TensorField:
    dim = (call["dim"] or 0) % len(call.shape)
    fields = [call.look(tensor) for tensor in call["tensors"]]
    fields = [field.with_dims([*field.dims[:dim], (), *field.dims[dim:]]) for field in fields]
    return put_together(fields, [1] * len(fields), dim, call.shape)


def _pad(call: Call) -> TensorField:
    """Padding before and after, last dimension first; negative numbers crop."""
    field = call.first
    pads = call["pad"] or call["padding"]
    for place, before in enumerate(pads[::2]):
        dim = len(field.dims) - 1 - place
        size = size_of(field.dims[dim])
        if call.shape[dim] == size:
            continue
        if field.carried() & set(field.dims[dim]):
            field = sliced(field, dim, -before, call.shape[dim])
        else:  # of channels that see nothing
            sizes = [before, size, pads[2 * place + 1]]
            shape = [size_of(atoms) for atoms in field.dims]
            shape[dim] = sum(sizes)
            empty = blank([1] * len(shape), call.extents)
            parts = [(part, n) for part, n in zip([empty, field, empty], sizes, strict=True) if n > 0]
            field = put_together([part for part, _ in parts], [n for _, n in parts], dim, shape)
    return field


def _view_as_real(call: Call) -> TensorField:
    return call.first.with_dims([*call.first.dims, fresh(2)])


def _view_as_complex(call: Call) -> TensorField:
    return reduced(call.first, [len(call.first.dims) - 1]).with_dims(call.first.dims[:-1])


VIEW_RULES: dict[str, Rule] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), _view),
    **dict.fromkeys(("alias", "detach", "clone", "_to_copy", "contiguous", "lift_fresh"), _same),
    **dict.fromkeys(("permute", "numpy_T"), _permute),
    **dict.fromkeys(("transpose", "t"), _transpose),
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "expand": _expand,
    "repeat": _repeat,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), _channel_shuffle),
    "slice": _slice,
    "select": _select,
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _split),
    "unbind": _unbind,
    "flip": _flip,
    "roll": _roll,
    "index_select": _index_select,
    "cat": _cat,
    "stack": _stack,
    "constant_pad_nd": _pad,
    **dict.fromkeys((f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)), _pad),
    "view_as_real": _view_as_real,
    "view_as_complex": _view_as_complex,
}
"""By the operator's name, without the underscore of its form that works in place."""
