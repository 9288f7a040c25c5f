"""Parameters of a network, and multiply-adds of PyTorch's operators.

Counted are the multiply-adds of convolutions and matrix products, whichever module or function asks for them. Not
counted are additions of biases, normalisation, activations, pooling and other arithmetic element by element, as is
usual.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

_aten = torch.ops.aten


def count_params(network: nn.Module) -> int:
    """Numbers in all parameters, each shared one counted once; buffers such as running means are none."""
    return sum(param.numel() for param in network.parameters())


def count_op_macs(op: Any, args: tuple[Any, ...], output: Any) -> int | None:
    """Multiply-adds of one call of an ATen operator; None for an operator that is not a matrix product or
    convolution.
    """
    if (count := _COUNTERS.get(op.overloadpacket)) is not None:
        return count(args, output)
    if op.overloadpacket.__name__.startswith("_scaled_dot_product"):
        return _attention(args)
    return None


def _convolution(args: tuple[Any, ...], output: Tensor) -> int:
    """Every output looks at one filter; the other way round when transposed. Filters are (out, in / groups, F, F)."""
    images, weight, is_transposed = args[0], args[1], args[6]
    seen_from = images if is_transposed else output
    return seen_from.numel() * prod(weight.shape[1:])


def _product(first: Tensor, second: Tensor) -> int:
    """(..., M, K) by (..., K, L): M * K * L for each of the batch; vectors have no L or no M."""
    return first.numel() * (second.shape[-1] if second.ndim > 1 else 1)


def _attention(args: tuple[Any, ...]) -> int:
    """Queries (..., L, E) by keys (..., S, E), then the weights (..., L, S) by values (..., S, V)."""
    queries, keys, values = args[:3]
    num_weights = prod(queries.shape[:-1]) * keys.shape[-2]
    return num_weights * (queries.shape[-1] + values.shape[-1])


def _rnn_layer(args: tuple[Any, ...]) -> int:
    """One layer of an LSTM in one call: steps (T, N, in) by the gates' weights (4 H, in), and states by (4 H, H)."""
    steps, from_input, from_state = args[:3]
    return steps.shape[0] * steps.shape[1] * (from_input.numel() + from_state.numel())


def _trilinear(args: tuple[Any, ...]) -> int:
    """Three tensors, stretched along new dimensions until they fit, multiplied and summed up: as nn.Bilinear has it."""
    shapes = []
    for tensor, places in zip(args[:3], args[3:6], strict=True):
        shape = list(tensor.shape)
        for place in sorted(places):
            shape.insert(place, 1)
        shapes.append(shape)
    return prod(max(lengths) for lengths in zip(*shapes, strict=True))


def is_uncounted(op: Any, takes_weights: bool) -> bool:
    """Whether an operator may multiply and add what nobody counts: products of kinds that `count_op_macs` does not
    know, and whatever takes weights without being known as free (element by element, a view, a norm, a reduction, a
    lookup).
    """
    name = op.overloadpacket.__name__
    if op.overloadpacket in _COUNTERS or name.startswith("_scaled_dot_product") or op.is_view:
        return False
    if any(part in name for part in _PRODUCTS) and name not in _FREE:
        return True
    is_free = torch.Tag.pointwise in op.tags or name in _FREE or any(part in name for part in _FREE_PARTS)
    return takes_weights and not is_free and name.rstrip("_") not in _FREE


_PRODUCTS = (
    "sparse",
    "cdist",
    "pdist",
    "linalg_",
    "rnn",
    "lstm",
    "gru",
    "_mm",
    "matmul",
    "outer",
    "inverse",
    "trilinear",
    "fft_",
)
_FREE = frozenset(
    {
        "linalg_vector_norm", "native_layer_norm", "native_group_norm", "embedding", "embedding_bag", "_embedding_bag",
        "cat", "stack",
        "sum", "mean", "amax", "amin", "max", "min", "norm", "var", "std", "var_mean", "std_mean", "prod", "any",
        "all", "cumsum", "copy",
        "clone", "_to_copy", "contiguous", "repeat", "repeat_interleave", "roll", "flip", "rot90", "where", "gather",
        "scatter",
        "index", "index_select", "index_put", "masked_fill", "masked_select", "triu", "tril", "constant_pad_nd",
        "prelu", "_prelu_kernel",
        "topk", "sort", "argmax", "argmin", "argsort", "equal", "expand", "empty_like", "zeros_like", "ones_like",
        "full_like",
        "fill", "zero", "normal", "uniform", "bernoulli", "detach", "alias", "lift_fresh", "lift_fresh_copy",
        "_weight_norm_interface",
        "diag_embed", "diagonal_copy", "new_zeros", "new_ones", "new_empty", "new_full", "unbind", "split",
        "pixel_shuffle",
    }
)  # fmt: skip
_FREE_PARTS = (
    "batch_norm",
    "softmax",
    "pool",
    "upsample",
    "grid_sampler",
    "dropout",
    "_local_scalar",
    "im2col",
    "col2im",
    "rms_norm",
)

_COUNTERS: dict[Any, Callable[[tuple[Any, ...], Any], int]] = {
    _aten.convolution: _convolution,
    _aten._convolution: _convolution,
    _aten.mm: lambda args, _: _product(args[0], args[1]),
    _aten.bmm: lambda args, _: _product(args[0], args[1]),
    _aten.mv: lambda args, _: _product(args[0], args[1]),
    _aten.dot: lambda args, _: _product(args[0], args[1]),
    _aten.addmm: lambda args, _: _product(args[1], args[2]),
    _aten.addmv: lambda args, _: _product(args[1], args[2]),
    _aten.vdot: lambda args, _: _product(args[0], args[1]),
    _aten.addbmm: lambda args, _: _product(args[1], args[2]),
    _aten._int_mm: lambda args, _: _product(args[0], args[1]),
    _aten.conv_tbc: lambda args, output: output.numel() * prod(args[1].shape[:2]),
    _aten.mkldnn_rnn_layer: lambda args, _: _rnn_layer(args),
    _aten._trilinear: lambda args, _: _trilinear(args),
    _aten.baddbmm: lambda args, _: _product(args[1], args[2]),
}
