"""Gram matrices and the losses of neural style (Gatys, Ecker & Bethge 2015, arXiv:1508.06576). N images, C channels, H
x W places.
"""

from typing import Any

import torch
from torch import Tensor

from striate.errors import InputError
from striate.processor import processor


def gram_matrix(features: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Products of channels, averaged over places (equation 3, divided by H W): (N, C, H, W) -> (N, C, C), symmetric.

    With `dtype` bfloat16 the factors are rounded to it, which changes products by up to 2 ** -8 each; sums stay
    float32.
    """
    if features.ndim != 4:
        raise InputError(
            f"a Gram matrix needs a spatial map (N, C, H, W) but got {tuple(features.shape)}; name another layer"
        )
    gram: Tensor = _Gram.apply(features, features.dtype if dtype == torch.float32 else dtype)
    return gram


def fast_gram_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on processors with instructions for it, which multiply three times as fast; float32 anywhere else."""
    flags = processor()[1].split()
    return torch.bfloat16 if device.type == "cpu" and {"avx512_bf16", "amx_bf16"} & set(flags) else torch.float32


class _Gram(torch.autograd.Function):
    """The products, without copying either layout; backward, the two equal halves of the gradient are one product and
    not two.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, dtype: torch.dtype) -> Tensor:
        flat = _places_last(features.to(dtype))  # (N, C, H W)
        ctx.save_for_backward(flat)
        ctx.dtype, ctx.shape = features.dtype, features.shape
        ctx.is_channels_last = not flat.is_contiguous()
        return torch.bmm(flat, flat.transpose(1, 2)).to(features.dtype) / flat.shape[2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (flat,) = ctx.saved_tensors
        shape = ctx.shape
        (gradient,) = gradients
        symmetric = ((gradient + gradient.transpose(1, 2)) / flat.shape[2]).to(flat.dtype)
        if not ctx.is_channels_last:
            return torch.bmm(symmetric, flat).to(ctx.dtype).view(shape), None
        moved = torch.bmm(flat.transpose(1, 2), symmetric).to(ctx.dtype)  # (N, H W, C)
        return moved.view(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2), None


def _places_last(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H W) as a view, whether channels or places lie beside each other in memory."""
    if features.is_contiguous(memory_format=torch.channels_last) and not features.is_contiguous():
        return features.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2)
    return features.flatten(2)


def content_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """Half the summed squared difference of outputs of one shape (equation 1), a scalar."""
    return (features - wanted).square().sum() / 2


def style_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """The loss of one layer, outputs (1, C, H, W) against (1, C, h, w) (equation 4), a scalar.

    Equal sizes give the paper's 1 / (4 C^2 (H W)^2) times the sum over squared differences of unnormalised Gram
    matrices.
    """
    difference = gram_matrix(features) - gram_matrix(wanted)
    return difference.square().sum() / (4 * features.shape[1] ** 2)


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """The summed squared difference over the summed squares of `wanted`, a scalar: 0 where equal, 1 for zeros."""
    return (found - wanted).square().sum() / wanted.square().sum().clamp(min=1e-20)
