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
    """Multiply-adds of one call of an ATen operator; None for an operator that is not a matrix product or convolution."""
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


_COUNTERS: dict[Any, Callable[[tuple[Any, ...], Any], int]] = {
    _aten.convolution: _convolution,
    _aten._convolution: _convolution,
    _aten.mm: lambda args, _: _product(args[0], args[1]),
    _aten.bmm: lambda args, _: _product(args[0], args[1]),
    _aten.mv: lambda args, _: _product(args[0], args[1]),
    _aten.dot: lambda args, _: _product(args[0], args[1]),
    _aten.addmm: lambda args, _: _product(args[1], args[2]),
    _aten.addmv: lambda args, _: _product(args[1], args[2]),
    _aten.baddbmm: lambda args, _: _product(args[1], args[2]),
}
