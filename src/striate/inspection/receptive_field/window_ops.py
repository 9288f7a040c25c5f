"""What the outputs of PyTorch's operators see of the image, given what their inputs see.

Operators that work element by element are known by PyTorch's own tag; the others stand in RULES. One that is not there
raises UnknownField: no number is ever guessed. Windows that reach over a padded border are followed as if the map went
on; reflections and clamping at borders are not followed. Nor are numbers: what a mask added to scores of attention
hides still counts as seen.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor, gcd

import torch
from torch import Tensor

from striate.inspection.receptive_field.axis_field import join
from striate.inspection.receptive_field.index_grid import Atom, size_of
from striate.inspection.receptive_field.intervals import Taps, UnknownField
from striate.inspection.receptive_field.operator_call import Call, Rule, at
from striate.inspection.receptive_field.tensor_field import (
    TensorField,
    blank,
    fresh,
    joined,
    reduced,
    selected,
    through,
)
from striate.inspection.receptive_field.view_ops import VIEW_RULES, regrouped, sliced

MAX_DENOMINATOR = 1000
"""Scale factors of interpolations are taken for the nearest fraction up to this."""


def fields_of_outputs(call: Call) -> list[TensorField]:
    """What the operator's outputs see, in order. Raises UnknownField, its text going on from the operator's name."""
    fields = [call.look(tensor) for tensor in call.tensors()]
    if not any(terms for field in fields for terms in field.axes):
        return [blank(call.shape, call.extents)]
    name = call.op.overloadpacket.__name__
    rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
    if call.op.namespace == "aten" and rule is not None:
        found = rule(call)
        return found if isinstance(found, list) else [found]
    if torch.Tag.pointwise in call.op.tags:
        return [joined(fields, call.shape)]
    if not any(field.carried() for field in fields):  # all units see alike, whatever is done to them
        axes = [[field.axes[axis] for field in fields if field.axes[axis]] for axis in (0, 1)]
        if all(terms == each[0] for each in axes for terms in each):
            height, width = (each[0] if each else () for each in axes)
            return [TensorField(blank(call.shape, call.extents).dims, (height, width), call.extents)]
    raise UnknownField("is not known")


# windows


def _convolution(call: Call) -> TensorField:
    field, weight = call.first, call["weight"]
    filters = [call.look(tensor) for tensor in (weight, call["bias"]) if isinstance(tensor, Tensor)]
    if any(each.carried() for each in filters):
        raise UnknownField("takes filters that differ from place to place")
    field = _within_groups(field, call["groups"], call.shape[1])
    for axis in range(weight.ndim - 2):
        dim, kernel = axis + 2, weight.shape[axis + 2]
        stride, padding, dilation = (at(call[name], axis) for name in ("stride", "padding", "dilation"))
        taps = (_transposed if call["transposed"] else _window)(kernel, stride, padding, dilation)
        field = through(field, dim, taps, call.shape[dim])
    parts = [field, *(each for each in filters if any(each.axes))]  # filters may be made from the whole image
    height, width = (join([term for part in parts for term in part.axes[axis]], call.extents[axis]) for axis in (0, 1))
    return TensorField(field.dims, (height, width), call.extents)


def _within_groups(field: TensorField, groups: int, num_channels: int) -> TensorField:
    """With `num_channels` channels, each seeing what all old channels of its group see."""
    sizes = [size_of(atoms) for atoms in field.dims]
    apart = reduced(regrouped(field, [sizes[0], groups, sizes[1] // groups, *sizes[2:]]), [2])
    batch, group, _, *places = apart.dims
    return apart.with_dims([batch, (*group, *fresh(num_channels // groups)), *places])


def _pool(call: Call) -> list[TensorField]:
    field = call.first
    num_axes = len(call["kernel_size"])
    if num_axes == 1:  # one number for every axis: the operator's name ends in how many there are
        num_axes = next(int(digit) for digit in call.op.overloadpacket.__name__ if digit.isdigit())
    for axis in range(num_axes):
        dim = len(field.dims) - num_axes + axis
        kernel = at(call["kernel_size"], axis)
        stride = at(call["stride"] or call["kernel_size"], axis)
        taps = _window(kernel, stride, at(call["padding"] or [0], axis), at(call["dilation"] or [1], axis))
        field = through(field, dim, taps, call.shape[dim])
    return [field, field]


def _adaptive_pool(call: Call) -> list[TensorField]:
    field = call.first
    num_axes = len(call["output_size"])
    for axis in range(num_axes):
        dim = len(field.dims) - num_axes + axis
        old, new = size_of(field.dims[dim]), call.shape[dim]
        if new == 1:
            field = reduced(field, [dim])
        elif new != old:
            spans = [range(unit * old // new, -(-(unit + 1) * old // new)) for unit in range(new // gcd(old, new))]
            field = through(field, dim, Taps(tuple(tuple(span) for span in spans), old // gcd(old, new)), new)
    return [field, field]


def _window(kernel: int, stride: int, padding: int, dilation: int) -> Taps:
    return Taps((tuple(place * dilation - padding for place in range(kernel)),), stride)


def _transposed(kernel: int, stride: int, padding: int, dilation: int) -> Taps:
    """Output o gets from input i where o = i * stride - padding + place * dilation."""
    reach = [[phase + padding - place * dilation for place in range(kernel)] for phase in range(stride)]
    return Taps(tuple(tuple(far // stride for far in fars if far % stride == 0) for fars in reach), 1)


def _upsample(places: Callable[[Fraction], tuple[int, ...]], *, is_centred: bool) -> Callable[[Call], TensorField]:
    """Interpolation that looks at the units around a place of the map; `is_centred`: halfway inside a unit is its
    place.
    """

    def rule(call: Call) -> TensorField:
        field = call.first
        num_axes = len(field.dims) - 2
        for axis, letter in zip(range(num_axes), "dhw"[-num_axes:], strict=True):
            dim = axis + 2
            old, new = size_of(field.dims[dim]), call.shape[dim]
            given = call[f"scales_{letter}"] if num_axes > 1 else call["scales"]
            corners = bool(call["align_corners"])
            scale = Fraction(old, new) if not given else 1 / Fraction(given).limit_denominator(MAX_DENOMINATOR)
            if corners:
                scale = Fraction(old - 1, new - 1) if new > 1 else Fraction(0)
            half = Fraction(1, 2)
            is_moved = is_centred and not corners
            sources = [(unit + half) * scale - half if is_moved else unit * scale for unit in range(scale.denominator)]
            field = through(field, dim, Taps(tuple(places(source) for source in sources), scale.numerator), new)
        return field

    return rule


def _below(place: Fraction) -> tuple[int, ...]:
    return (floor(place),)


def _nearest_exact(place: Fraction) -> tuple[int, ...]:
    return (floor(place + Fraction(1, 2)),)


def _linear(place: Fraction) -> tuple[int, ...]:
    return (floor(place), ceil(place))


def _cubic(place: Fraction) -> tuple[int, ...]:
    below = floor(place)
    return (below,) if place == below else tuple(range(below - 1, below + 3))


def _unfold(call: Call) -> TensorField:
    """Sliding windows, their places as a new last dimension: unit (i, j) is unit `step * i + j` of the old one."""
    dim, windows, place = call.dim("dimension"), Atom(call.shape[call.dim("dimension")]), Atom(call["size"])
    field = selected(call.first, dim, 0, {windows: call["step"], place: 1})
    return field.with_dims([*field.dims[:dim], (windows,), *field.dims[dim + 1 :], (place,)])


def _im2col(call: Call) -> TensorField:
    """(N, C, H, W) -> (N, C * F * F, windows)."""
    field = call.first
    windows, places = [], []
    for axis in (0, 1):
        stride, padding, dilation = (at(call[name], axis) for name in ("stride", "padding", "dilation"))
        kernel, old = call["kernel_size"][axis], size_of(field.dims[axis + 2])
        windows.append(Atom((old + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1))
        places.append(Atom(kernel))
        field = selected(field, axis + 2, -padding, {windows[axis]: stride, places[axis]: dilation})
    return field.with_dims([field.dims[0], (*field.dims[1], *places), tuple(windows)])


# everything along a dimension


def _reduce(call: Call) -> list[TensorField]:
    """Sums, maxima and the like over some dimensions, kept with one step or left out."""
    dims = call.dims()
    field = reduced(call.first, dims)
    if len(call.shape) < len(field.dims):
        field = field.with_dims([atoms for dim, atoms in enumerate(field.dims) if dim not in dims])
    return [field, field]


def _spread(call: Call) -> list[TensorField]:
    """Every unit sees what all along some dimensions see: softmax, sorting, Fourier transforms of the same size."""
    return [_spread_over(call, call.dims())] * 2


def _spread_over(call: Call, dims: Sequence[int]) -> TensorField:
    field = reduced(call.first, dims)
    return field.with_dims([fresh(size) if dim in dims else field.dims[dim] for dim, size in enumerate(call.shape)])


def _layer_norm(call: Call) -> TensorField:
    num_dims = len(call.first.dims)
    return _with_params(call, _spread_over(call, range(num_dims - len(call["normalized_shape"]), num_dims)))


def _group_norm(call: Call) -> TensorField:
    """Statistics of each group's channels at every place."""
    field = _within_groups(call.first, call["group"], call.shape[1])
    field = reduced(field, range(2, len(field.dims)))
    return _with_params(call, field.with_dims([*field.dims[:2], *(fresh(size) for size in call.shape[2:])]))


def _batch_norm(call: Call) -> TensorField:
    """Its statistics are numbers of its own in evaluation; those of the batch see every place."""
    if call["training"] if "training" in call.given else "no_" not in call.op.overloadpacket.__name__:
        return _spread_over(call, [dim for dim in range(len(call.first.dims)) if dim != 1])
    return call.first


def _with_params(call: Call, field: TensorField) -> TensorField:
    """Scales and shifts must be the same for every place, which those of a layer are."""
    for name in ("weight", "bias"):
        if isinstance(call[name], Tensor) and any(call.look(call[name]).axes):
            raise UnknownField("takes scales that depend on the image")
    return field


# products


def _matmul(first: str, second: str, added: str | None = None) -> Callable[[Call], TensorField]:
    """(..., M, K) by (..., K, L), whatever is added to it: each unit sees a row of the one and a column of the
    other.
    """

    def rule(call: Call) -> TensorField:
        left, right = call.look(call[first]), call.look(call[second])
        if len(right.dims) == 1:
            right = right.with_dims([right.dims[0], ()])
        if len(left.dims) == 1:
            left = left.with_dims([(), left.dims[0]])
        shape = [*(size_of(atoms) for atoms in left.dims[:-1]), size_of(right.dims[-1])]
        product = joined([reduced(left, [len(left.dims) - 1]), reduced(right, [len(right.dims) - 2])], shape)
        product = product.with_dims(product.dims[: len(call.shape)])  # vectors have no columns
        return joined([product, *([call.look(call[added])] if added else [])], call.shape)

    return rule


def _attention(call: Call) -> list[TensorField]:
    """Queries (..., L, E), keys (..., S, E), values (..., S, V): a query sees every key and value."""
    queries, keys, values = (call.look(call[name]) for name in ("query", "key", "value"))
    last = len(queries.dims) - 1
    parts = [reduced(queries, [last]), reduced(keys, [last - 1, last]), reduced(values, [last - 1])]
    return [joined(parts, call.shape)]


def _blank(call: Call) -> TensorField:
    return blank(call.shape, call.extents)


def _pointwise(call: Call) -> list[TensorField]:
    return [joined([call.look(tensor) for tensor in call.tensors()], call.shape)] * 2


def _copy(call: Call) -> TensorField:
    return joined([call.look(call["src"])], call.shape)


def _glu(call: Call) -> TensorField:
    """One half along a dimension times a function of the other."""
    dim, half = call.dim(), call.shape[call.dim()]
    return joined([sliced(call.first, dim, start, half) for start in (0, half)], call.shape)


RULES: dict[str, Rule] = VIEW_RULES | {
    "convolution": _convolution,
    "_convolution": _convolution,
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), _pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), _pool),
    **dict.fromkeys((f"adaptive_max_pool{n}d" for n in (1, 2, 3)), _adaptive_pool),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), _adaptive_pool),
    **dict.fromkeys((f"upsample_nearest{n}d" for n in (1, 2, 3)), _upsample(_below, is_centred=False)),
    **dict.fromkeys((f"_upsample_nearest_exact{n}d" for n in (1, 2, 3)), _upsample(_nearest_exact, is_centred=True)),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d"), _upsample(_linear, is_centred=True)),
    "upsample_trilinear3d": _upsample(_linear, is_centred=True),
    "upsample_bicubic2d": _upsample(_cubic, is_centred=True),
    "unfold": _unfold,
    "im2col": _im2col,
    **dict.fromkeys(("sum", "mean", "amax", "amin", "max", "min", "prod", "any", "all", "argmax", "argmin"), _reduce),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean", "logsumexp", "norm", "linalg_vector_norm"), _reduce),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax", "sort", "argsort", "topk"), _spread),
    **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _spread),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    **dict.fromkeys(("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm"), _batch_norm),
    **dict.fromkeys(("_native_batch_norm_legit", "_native_batch_norm_legit_no_training"), _batch_norm),
    **dict.fromkeys(("_batch_norm_with_update", "_batch_norm_no_update"), _batch_norm),
    "mm": _matmul("self", "mat2"),
    "bmm": _matmul("self", "mat2"),
    "mv": _matmul("self", "vec"),
    "dot": _matmul("self", "tensor"),
    "addmm": _matmul("mat1", "mat2", "self"),
    "addmv": _matmul("mat", "vec", "self"),
    "baddbmm": _matmul("batch1", "batch2", "self"),
    **dict.fromkeys((f"_scaled_dot_product_{way}" for way in ("efficient_attention", "cudnn_attention")), _attention),
    **dict.fromkeys((f"_scaled_dot_product_flash_attention{end}" for end in ("", "_for_cpu")), _attention),
    **dict.fromkeys(("hardswish", "log_sigmoid_forward", "_prelu_kernel", "native_dropout"), _pointwise),
    "copy": _copy,
    "glu": _glu,
    **dict.fromkeys(
        ("fill", "zero", "normal", "bernoulli", "uniform", "zeros_like", "ones_like", "empty_like"), _blank
    ),
    **dict.fromkeys(("full_like", "rand_like", "randn_like", "new_zeros", "new_ones", "new_full"), _blank),
    **dict.fromkeys(("new_empty", "new_empty_strided"), _blank),
}
"""By the operator's name, without the underscore of its form that works in place."""
