"""Regularisers of gradient ascent on pixels (Yosinski et al. 2015, arXiv:1506.06579, section 3): decay, blur, clipping;
total variation.

All but total variation change a deviation from grey (1, C, H, W) in place.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.errors import InputError


@dataclass(frozen=True)
class Regularizers:
    """Strengths; 0 switches one off.

    `l2`: the fraction by which the deviation shrinks at each step. `blur_sigma_px` every `blur_every` steps.
    `clip_pixels`, `clip_gradients`: the fraction of pixels set to grey whose values, or whose values times gradients,
    are smallest. `total_variation`: weight of that penalty in the loss.
    """

    l2: float = 0.0
    blur_sigma_px: float = 0.0
    blur_every: int = 4
    clip_pixels: float = 0.0
    clip_gradients: float = 0.0
    total_variation: float = 0.0

    def __post_init__(self) -> None:
        fractions = {"l2": self.l2, "clip_pixels": self.clip_pixels, "clip_gradients": self.clip_gradients}
        for name, value in fractions.items():
            if not 0 <= value < 1:
                raise InputError(f"{name} must be a fraction of at least 0 and below 1 but is {value:g}")
        if not (0 <= self.blur_sigma_px <= 100) or self.blur_every < 1 or not 0 <= self.total_variation < float("inf"):
            raise InputError(
                f"blur must be 0 to 100 pixels every 1 or more steps, total variation at least 0, but they are "
                f"{self.blur_sigma_px:g}, {self.blur_every} and {self.total_variation:g}"
            )

    @property
    def change_pixels(self) -> bool:
        """Whether any of them works on pixels directly, which other spaces do not have."""
        return bool(self.l2 or self.blur_sigma_px or self.clip_pixels or self.clip_gradients)


@torch.no_grad()
def regularize(deviation: Tensor, gradient: Tensor, step: int, chosen: Regularizers) -> None:
    """Apply the pixel regularisers after step number `step`, counted from 1."""
    if chosen.l2:
        deviation.mul_(1 - chosen.l2)
    if chosen.blur_sigma_px and step % chosen.blur_every == 0:
        deviation.copy_(gaussian_blur(deviation, chosen.blur_sigma_px))
    if chosen.clip_pixels:
        _set_smallest_to_grey(deviation, deviation.norm(dim=1, keepdim=True), chosen.clip_pixels)
    if chosen.clip_gradients:
        # the first-order effect of setting a pixel to grey is its value times its gradient, summed over channels
        _set_smallest_to_grey(deviation, (deviation * gradient).sum(dim=1, keepdim=True).abs(), chosen.clip_gradients)


def _set_smallest_to_grey(deviation: Tensor, importance: Tensor, fraction: float) -> None:
    deviation.mul_(importance > importance.flatten().quantile(fraction))


def gaussian_blur(images: Tensor, sigma_px: float) -> Tensor:
    """Images (N, C, H, W) convolved with a Gaussian cut at three sigma, mirrored at the edges as far as they reach."""
    radius = max(1, round(3 * sigma_px))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma_px**2))
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    for axis in (2, 3):
        shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
        padding = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        mode = "reflect" if radius < images.shape[axis] else "replicate"
        weight = kernel.view(shape).expand(channels, 1, *shape[2:])
        images = F.conv2d(F.pad(images, padding, mode=mode), weight, groups=channels)
    return images


def total_variation(images: Tensor, beta: float = 2.0) -> Tensor:
    """The mean over pixels of ((dx^2 + dy^2) summed over channels) ^ (beta / 2) of images (N, C, H, W), a scalar.

    Mahendran & Vedaldi 2015, arXiv:1412.0035, eq. 3, divided by the number of pixels; the last row and column have no
    neighbour and count one difference less.
    """
    down = (images[:, :, 1:, :] - images[:, :, :-1, :]).square()
    right = (images[:, :, :, 1:] - images[:, :, :, :-1]).square()
    squares = (F.pad(down, (0, 0, 0, 1)) + F.pad(right, (0, 1))).sum(dim=1)
    return squares.mean() if beta == 2 else (squares + 1e-12).pow(beta / 2).mean()
