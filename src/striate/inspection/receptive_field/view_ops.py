"""What views see: reshaped, transposed, selected and put together tensors, by PyTorch's operators."""

from collections.abc import Sequence

from striate.inspection.receptive_field.index_grid import Atom, size_of
from striate.inspection.receptive_field.intervals import UnknownField
from striate.inspection.receptive_field.operator_call import Call, Rule
from striate.inspection.receptive_field.tensor_field import (
    Sight,
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


def _view(call: Call) -> Sight:
    return regrouped(call.first, call.shape)


def regrouped(sight: Sight, shape: Sequence[int]) -> Sight:
    """The same units in the same order, over dimensions of another shape."""
    waiting = [atom for atoms in sight.dims for atom in atoms]
    dims: list[tuple[Atom, ...]] = []
    sight = sight.with_dims([tuple(waiting)])
    for size in shape:
        needed = size
        group: list[Atom] = []
        while needed > 1:
            atom = waiting.pop(0)
            while needed % atom.size and atom.size % needed:  # fits neither way: take more, as one
                atom, waiting, sight = _fuse_first(sight, [*(a for g in dims for a in g), *group], [atom, *waiting])
            if needed % atom.size == 0:
                group.append(atom)
                needed //= atom.size
            else:
                outer, inner = Atom(needed), Atom(atom.size // needed)
                sight = split(sight, atom, outer, inner)
                group.append(outer)
                waiting.insert(0, inner)
                needed = 1
        dims.append(tuple(group))
    if waiting:  # of one step each: they hang on to their neighbours
        dims = [*dims[:-1], (*dims[-1], *waiting)] if dims else dims
    return sight.with_dims(dims)


def _fuse_first(sight: Sight, done: list[Atom], waiting: list[Atom]) -> tuple[Atom, list[Atom], Sight]:
    """With the first two waiting atoms made one."""
    pair, rest = tuple(waiting[:2]), waiting[2:]
    fused = fuse(sight.with_dims([tuple(done), pair, tuple(rest)]), 1)
    (whole,) = fused.dims[1]
    return whole, rest, fused.with_dims([(*done, whole, *rest)])


def _same(call: Call) -> list[Sight]:
    return [call.first] * 2


def _permute(call: Call) -> Sight:
    sight = call.first
    return sight.with_dims([sight.dims[dim] for dim in call.dims("dims")])


def _transpose(call: Call) -> Sight:
    sight = call.first
    dims = list(sight.dims)
    if len(dims) > 1:
        one, other = (call.dim("dim0"), call.dim("dim1")) if "dim0" in call.given else (0, 1)
        dims[one], dims[other] = dims[other], dims[one]
    return sight.with_dims(dims)


def _unsqueeze(call: Call) -> Sight:
    dims = list(call.first.dims)
    dims.insert(call["dim"] % (len(dims) + 1), ())
    return call.first.with_dims(dims)


def _squeeze(call: Call) -> Sight:
    """Left-out dimensions of one step leave their atoms, if any, to a neighbour."""
    sight = call.first
    gone = [dim for dim in call.dims() if size_of(sight.dims[dim]) == 1]
    dims: list[tuple[Atom, ...]] = []
    left: tuple[Atom, ...] = ()
    for dim, atoms in enumerate(sight.dims):
        if dim in gone:
            left += atoms
        else:
            dims.append((*left, *atoms))
            left = ()
    if left and dims:
        dims[-1] += left
    return sight.with_dims(dims)


def _expand(call: Call) -> Sight:
    return joined([call.first], call.shape)


def _repeat(call: Call) -> Sight:
    sight = call.first
    dims = [*([()] * (len(call.shape) - len(sight.dims))), *sight.dims]
    return sight.with_dims([(*fresh(times), *atoms) for times, atoms in zip(call["repeats"], dims, strict=True)])


def _pixel_shuffle(call: Call) -> Sight:
    """(..., C * r * r, H, W) -> (..., C, H * r, W * r)."""
    sight, factor = call.first, call["upscale_factor"]
    *batch, channels, height, width = [size_of(atoms) for atoms in sight.dims]
    apart = regrouped(sight, [*batch, channels // factor**2, factor, factor, height, width])
    *others, maps, down, right, rows, columns = apart.dims
    return apart.with_dims([*others, maps, (*rows, *down), (*columns, *right)])


def _pixel_unshuffle(call: Call) -> Sight:
    """(..., C, H * r, W * r) -> (..., C * r * r, H, W)."""
    sight, factor = call.first, call["downscale_factor"]
    *batch, channels, height, width = [size_of(atoms) for atoms in sight.dims]
    apart = regrouped(sight, [*batch, channels, height // factor, factor, width // factor, factor])
    *others, maps, rows, down, columns, right = apart.dims
    return apart.with_dims([*others, (*maps, *down, *right), rows, columns])


def _channel_shuffle(call: Call) -> Sight:
    sight, groups = call.first, call["groups"]
    sizes = [size_of(atoms) for atoms in sight.dims]
    apart = regrouped(sight, [sizes[0], groups, sizes[1] // groups, *sizes[2:]])
    batch, outer, inner, *places = apart.dims
    return apart.with_dims([batch, (*inner, *outer), *places])


# selecting


def _slice(call: Call) -> Sight:
    dim, step = call.dim(), call["step"] or 1
    size = size_of(call.first.dims[dim])
    start = min(max(0, (call["start"] or 0) + (size if (call["start"] or 0) < 0 else 0)), size)
    return sliced(call.first, dim, start, call.shape[dim], step)


def sliced(sight: Sight, dim: int, start: int, size: int, step: int = 1) -> Sight:
    """`size` units along a dimension, from `start` on, every `step`-th."""
    atoms = sight.dims[dim]
    if (start, step) == (0, 1) and size == size_of(atoms):
        return sight
    if step == 1 and len(atoms) > 1 and not (start % (inner := size_of(atoms[1:])) or size % inner):
        apart = sight.with_dims([*sight.dims[:dim], atoms[:1], atoms[1:], *sight.dims[dim + 1 :]])
        part = sliced(apart, dim, start // inner, size // inner)
        return part.with_dims([*part.dims[:dim], (*part.dims[dim], *part.dims[dim + 1]), *part.dims[dim + 2 :]])
    return selected(sight, dim, start, {Atom(size): step})


def _select(call: Call) -> Sight:
    dim = call.dim()
    return _selected(call.first, dim, call["index"] % size_of(call.first.dims[dim]))


def _selected(sight: Sight, dim: int, index: int) -> Sight:
    one = reduced(sliced(sight, dim, index, 1), [dim])
    return one.with_dims([*one.dims[:dim], *one.dims[dim + 1 :]])


def _split(call: Call) -> list[Sight]:
    """Into parts side by side, whose sizes are read from the outputs."""
    dim, start, parts = call.dim(), 0, []
    for output in call.output:
        parts.append(sliced(call.first, dim, start, output.shape[dim]))
        start += output.shape[dim]
    return parts


def _unbind(call: Call) -> list[Sight]:
    return [_selected(call.first, call.dim(), index) for index in range(len(call.output))]


def _flip(call: Call) -> Sight:
    sight = call.first
    for dim in call.dims("dims"):
        if (size := size_of(sight.dims[dim])) > 1:
            sight = selected(sight, dim, size - 1, {Atom(size): -1})
    return sight


def _roll(call: Call) -> Sight:
    """The unit at each index comes from `shift` before it, round the end."""
    sight = call.first
    if not call["dims"]:
        raise UnknownField("rolls over all dimensions at once")
    for dim, shift in zip(call.dims("dims"), call["shifts"], strict=True):
        size = size_of(sight.dims[dim])
        if size > 1:
            sight = rearranged(sight, dim, [(unit - shift) % size for unit in range(size)])
    return sight


def _index_select(call: Call) -> Sight:
    dim, sight = call.dim(), call.first
    if sight.carried() & set(sight.dims[dim]):
        raise UnknownField("takes units by numbers that are not known")
    return sight.with_dims([*sight.dims[:dim], fresh(call.shape[dim]), *sight.dims[dim + 1 :]])


def _cat(call: Call) -> Sight:
    tensors = [tensor for tensor in call["tensors"] if tensor.shape != (0,)]  # which PyTorch passes over
    dim = (call["dim"] or 0) % tensors[0].ndim
    return put_together([call.look(each) for each in tensors], [each.shape[dim] for each in tensors], dim, call.shape)


def _stack(call: Call) -> Sight:
    dim = (call["dim"] or 0) % len(call.shape)
    sights = [call.look(tensor) for tensor in call["tensors"]]
    sights = [sight.with_dims([*sight.dims[:dim], (), *sight.dims[dim:]]) for sight in sights]
    return put_together(sights, [1] * len(sights), dim, call.shape)


def _pad(call: Call) -> Sight:
    """What is added before and after, last dimension first; negative numbers cut off."""
    sight = call.first
    pads = call["pad"] or call["padding"]
    for place, before in enumerate(pads[::2]):
        dim = len(sight.dims) - 1 - place
        size = size_of(sight.dims[dim])
        if call.shape[dim] == size:
            continue
        if sight.carried() & set(sight.dims[dim]):
            sight = sliced(sight, dim, -before, call.shape[dim])
        else:  # of channels that see nothing
            sizes = [before, size, pads[2 * place + 1]]
            shape = [size_of(atoms) for atoms in sight.dims]
            shape[dim] = sum(sizes)
            empty = blank([1] * len(shape), call.extents)
            parts = [(part, n) for part, n in zip([empty, sight, empty], sizes, strict=True) if n > 0]
            sight = put_together([part for part, _ in parts], [n for _, n in parts], dim, shape)
    return sight


def _view_as_real(call: Call) -> Sight:
    return call.first.with_dims([*call.first.dims, fresh(2)])


def _view_as_complex(call: Call) -> Sight:
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
