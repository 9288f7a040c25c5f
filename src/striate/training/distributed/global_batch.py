"""Layers that look beyond one image, over a batch that several processes share: batch norm and dropout.

Batch norm's statistics are those of all images of the batch, and dropout's masks are drawn for all of them, by every
process alike, of which each takes its own rows. So the processes together compute what one alone would, up to the
order of sums. The network stays as it is: while `WholeBatch` is active, torch's own functions are answered differently,
whoever calls them, so that norms and dropouts of other libraries take part and nothing in a model file changes its
name.

n images of a process's share, N of the batch, C channels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from striate.data.sampling import BatchSlice

_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
_FILLS = (torch.Tensor.bernoulli_, torch.Tensor.uniform_, torch.Tensor.normal_)
_MAKERS = (torch.rand, torch.randn, torch.randint)
_LIKES = (torch.rand_like, torch.randn_like, torch.randint_like, torch.bernoulli)


class GlobalBatch(TorchFunctionMode):
    """While active, torch's batch norm and random functions work on the batch of all processes.

    Every process must be within, with its share of the same batch, and their random streams must stand alike. Random
    numbers are taken for one row an image where the first dimension, or only one, is as long as the share; others, such
    as one number for the batch, are drawn alike in every process.
    """

    def __init__(self, share: BatchSlice) -> None:
        super().__init__()
        self.share = share

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # fmt: skip
        """Call `func`, over the global batch where that differs."""
        named = dict(kwargs or {})
        if func is F.batch_norm:
            return _batch_norm(*args, **named)
        if func in _DROPOUTS:
            return self._drop(func, *args, **named)
        if func in _FILLS and (place := self._place(args[0].shape)) is not None:
            whole = args[0].new_empty(self._whole(args[0].shape, place))
            return args[0].copy_(self._own(func(whole, *args[1:], **named), place))
        if func in _LIKES and (place := self._place(args[0].shape)) is not None:
            whole = args[0].new_zeros(self._whole(args[0].shape, place))
            self._own(whole, place).copy_(args[0])  # bernoulli's probabilities: only those of the own rows matter
            return self._own(func(whole, *args[1:], **named), place)
        if func in _MAKERS:
            return self._make(func, args, named)
        return func(*args, **named)

    def _drop(
        self, func: Callable[..., Tensor], input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        """Dropout of any kind: the mask of all images is what it makes of ones."""
        place = None if isinstance(input, nn.Parameter) else self._place(input.shape[:1])
        if not training or p == 0 or place is None:
            return func(input, p, training, inplace)
        shape = self._whole(input.shape, place)
        mask = torch.ones(shape, dtype=input.dtype, device=input.device)
        if input.ndim == 4 and input.is_contiguous(memory_format=torch.channels_last):
            mask = mask.contiguous(memory_format=torch.channels_last)  # numbers are drawn in the order of memory
        mask = self._own(func(mask, p, True, False), place)
        return input.mul_(mask) if inplace else input * mask

    def _make(self, func: Callable[..., Tensor], args: Sequence[Any], named: dict[str, Any]) -> Tensor:
        """A tensor of random numbers; its shape comes as a sequence anywhere or as whole numbers in front."""
        if named.get("generator") is not None:
            return func(*args, **named)
        sizes = [number for number, arg in enumerate(args) if isinstance(arg, tuple | list | torch.Size)]
        if sizes:
            before, shape, after = args[: sizes[0]], args[sizes[0]], args[sizes[0] + 1 :]
        elif "size" in named:
            before, shape, after = args, named.pop("size"), ()
        else:
            before, shape, after = (), args, ()
        place = self._place(shape)
        if place is None:
            return func(*before, tuple(shape), *after, **named)
        return self._own(func(*before, self._whole(shape, place), *after, **named), place)

    def _place(self, shape: Sequence[int]) -> int | None:
        """Find the batch dimension of the slice, or None."""
        places = [place for place, length in enumerate(shape) if length == self.share.stop - self.share.start]
        return places[0] if len(places) == 1 or places[:1] == [0] else None

    def _whole(self, shape: Sequence[int], place: int) -> tuple[int, ...]:
        """The same shape for all images of the batch."""
        return (*shape[:place], self.share.total, *shape[place + 1 :])

    def _own(self, whole: Tensor, place: int) -> Tensor:
        """The rows of the process's share."""
        return whole.narrow(place, self.share.start, self.share.stop - self.share.start)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """torch's batch_norm, (n, C, ...) -> (n, C, ...), with the mean and variance of all processes' inputs in
    training.
    """
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    output, mean, var, num_values = _Normalize.apply(input, weight, bias, eps)
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            unbiased = var * (num_values / (num_values - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return output


class _Normalize(torch.autograd.Function):
    """(n, C, ...) -> the same with mean 0 and variance 1 over the images of all processes, times `weight` plus `bias`
    (C,); the mean (C,), the biased variance (C,) and how many values of a channel they were taken over.

    All passes over the images are torch's own kernels for one process, which read and write each value once: their own
    sums are combined between them. Statistics are held in float32 or wider.
    """

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, var, num_values = _statistics(input)
        output = _affine(input, mean, var, weight, bias, eps)
        ctx.save_for_backward(input, weight, mean, var, num_values)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var, num_values)
        return output, mean, var, num_values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *unused: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:  # noqa: ARG004
        """Ioffe & Szegedy 2015 (arXiv:1502.03167, section 3), the sums over all processes."""
        input, weight, mean, var, num_values = ctx.saved_tensors
        # as if the statistics were constants; and this process's sums of grad * normalized and of grad
        grad_input, product_sum, grad_sum = torch.ops.aten.native_batch_norm_backward(
            grad, input, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        sums = _gathered(torch.stack([product_sum, grad_sum])).sum(0)
        # what the statistics' own dependence on the input takes away
        scale = (var + ctx.eps).rsqrt() if weight is None else weight * (var + ctx.eps).rsqrt()
        mean_product, mean_grad = -scale * sums / num_values
        grad_input += _affine(input, mean, var, mean_product, mean_grad, ctx.eps)
        has_weight, has_bias = ctx.needs_input_grad[1:3]
        return grad_input, product_sum if has_weight else None, grad_sum if has_bias else None, None


def _statistics(input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number of a channel's values over all processes' inputs."""
    zeros = torch.zeros(
        input.shape[1], dtype=torch.promote_types(input.dtype, torch.float32), device=input.device
    )  # so the kernel answers in this precision
    own_mean, own_var = torch.batch_norm_update_stats(input, zeros, zeros.clone(), 0.0)
    own_count = torch.full_like(own_mean, input.numel() / input.shape[1])
    counts, means, variances = _gathered(torch.stack([own_count, own_mean, own_var])).unbind(1)  # (P, C) each
    num_values = counts.sum(0)
    mean = (counts * means).sum(0) / num_values
    # Chan, Golub & LeVeque 1979: no difference of large squares
    var = (counts * (variances + (means - mean).square())).sum(0) / num_values
    return mean, var, num_values


def _affine(input: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """(input - mean) / sqrt(var + eps) * weight + bias by channel, in one pass; no gradient is recorded."""
    return torch.native_batch_norm(input, weight, bias, mean, var, False, 0.0, eps)[0]


def _gathered(own: Tensor) -> Tensor:
    """Gather from every process, in the order of ranks: (...) -> (P, ...)."""
    parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, own)
    return torch.stack(parts)
