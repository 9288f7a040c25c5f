"""Gram matrices and the losses of neural style (Gatys, Ecker & Bethge 2015, arXiv:1508.06576). N images, C channels, H x W places."""

import torch
from torch import Tensor

from striate.errors import InputError


def gram_matrix(features: Tensor) -> Tensor:
    """Products of channels, averaged over places (equation 3, divided by H W): (N, C, H, W) -> (N, C, C), symmetric."""
    if features.ndim != 4:
        raise InputError(
            f"a Gram matrix needs a spatial map (N, C, H, W) but got {tuple(features.shape)}; name another layer"
        )
    flat = features.flatten(2)  # (N, C, H W)
    return torch.bmm(flat, flat.transpose(1, 2)) / flat.shape[2]


def content_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """Half the summed squared difference of outputs of one shape (equation 1), a scalar."""
    return (features - wanted).square().sum() / 2


def style_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """The loss of one layer, outputs (1, C, H, W) against (1, C, h, w) (equation 4), a scalar.

    Equal sizes give the paper's 1 / (4 C^2 (H W)^2) times the sum over squared differences of unnormalised Gram matrices.
    """
    difference = gram_matrix(features) - gram_matrix(wanted)
    return difference.square().sum() / (4 * features.shape[1] ** 2)


def relative_error(found: Tensor, wanted: Tensor) -> Tensor:
    """The summed squared difference over the summed squares of `wanted`, a scalar: 0 where equal, 1 for zeros."""
    return (found - wanted).square().sum() / wanted.square().sum().clamp(min=1e-20)
