"""Random views of a picture: shifted, scaled and turned a little, so that what is found does not hang on single pixels.

Transformation robustness (Olah, Mordvintsev & Schubert 2017, doi:10.23915/distill.00007, section "Regularization").
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.errors import InputError


@dataclass(frozen=True)
class Views:
    """Shifts of up to `jitter_px` each way, scales in 1 / (1 + `scale`) .. 1 + `scale`, turns of up to `rotation`
    degrees each way.
    """

    jitter_px: int = 12
    scale: float = 0.1
    rotation: float = 5.0

    def __post_init__(self) -> None:
        if self.jitter_px < 0 or not 0 <= self.scale <= 1 or not 0 <= self.rotation <= 180:
            raise InputError(
                f"jitter must be at least 0 pixels, scale 0 to 1 and rotation 0 to 180 degrees but they are "
                f"{self.jitter_px}, {self.scale:g} and {self.rotation:g}"
            )

    @property
    def are_trivial(self) -> bool:
        """Whether every view is the picture itself."""
        return not (self.jitter_px or self.scale or self.rotation)


def random_view(images: Tensor, views: Views, generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W) seen through one random shift, scale and turn: the same shape, bilinear, mirrored beyond the
    edges.
    """
    if views.are_trivial:
        return images
    draws = (2 * torch.rand(4, generator=generator, device=generator.device) - 1).tolist()
    angle = math.radians(views.rotation) * draws[0]
    zoom = (1 + views.scale) ** draws[1]
    height, width = images.shape[-2:]
    shift_y, shift_x = (round(views.jitter_px * draw) for draw in draws[2:])
    if not views.scale and not views.rotation:
        return images.roll((shift_y, shift_x), dims=(-2, -1))
    cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
    matrix = torch.tensor(
        [
            [cosine, -sine * height / width, 2 * shift_x / width],
            [sine * width / height, cosine, 2 * shift_y / height],
        ],
        device=images.device,
        dtype=images.dtype,
    )
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
