"""SmoothGrad: the gradient averaged over noisy copies of the image (Smilkov et al. 2017, arXiv:1706.03825, section
3).
"""

from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.explanation.batches import map_in_parts
from striate.explanation.gradients import gradients_of_batch
from striate.explanation.scores import Classes


def smooth_grad(
    network: nn.Module,
    images: Tensor,
    *,
    classes: Classes,
    num_samples: int = 50,
    noise: float = 0.15,
    seed: int = 0,
    batch_size: int | None = None,
) -> Tensor:
    """The mean gradient over `num_samples` noisy copies: images (N, C, H, W) -> maps (N, C, H, W), signed.

    The noise is Gaussian; its standard deviation is `noise` times the range of each image (the paper's 10 to 20 %).
    Every image gets the same noise, drawn by `seed` alone. Raises InputError for numbers out of range.
    """
    if num_samples < 1 or noise < 0:
        raise InputError(f"num_samples must be at least 1 and noise at least 0 but they are {num_samples} and {noise}")

    def part(some: Tensor, chosen: Any) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        spread = noise * (some.amax(dim=(1, 2, 3), keepdim=True) - some.amin(dim=(1, 2, 3), keepdim=True))
        total = torch.zeros_like(some)
        for _ in range(num_samples):
            drawn = torch.randn(some.shape[1:], generator=generator).to(some)
            total += gradients_of_batch(network, some + spread * drawn, chosen)
        return total / num_samples

    return map_in_parts(network, images, classes, part, batch_size=batch_size)
