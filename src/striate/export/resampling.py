"""Pillow's antialiased resize and the centre crop as arithmetic in the graph, for images of any height and width.

N images, C channels, H x W pixels in, h x w pixels out. What Pillow's documentation calls resampling with a support
that grows with the scale: every pixel that comes out is a weighted mean of those that went in, first along the rows,
rounded to whole grey levels, then along the columns, rounded again. Here each of the two passes is one product with a
dense matrix of weights, (w, W) and (h, H), made of the sizes alone. Only the pixels that the crop keeps are computed,
so that the shapes that come out are fixed and the overlong ends of Preprocessing.resize_image need no care of their
own.

Departure: sums are float32 where Pillow's are exact, so that one within about 1e-4 of a half may be rounded to the
other
side: one grey level in about one pixel of ten thousand (in images of a few pixels, much enlarged, lanczos may make two
of it). Sizes are multiplied as whole numbers, and an engine that computes those in 32 bits needs height * resized
height and width * resized width below 2^30.
"""

import math
from collections.abc import Callable

import PIL
import torch
from torch import Tensor, nn

from striate.data.preprocessing import MAX_ASPECT, Interpolation, Preprocessing

_UNIT = 2.0**22
"""Pillow's weights are whole multiples of one part in so many."""
_CHOOSES_ORDER = int(PIL.__version__.split(".")[0]) >= 13
"""Pillow 13 sometimes passes down the columns first; before, rows always came first."""


def _triangle(distances: Tensor) -> Tensor:
    """1 - |x|, and 0 beyond 1."""
    return (1 - distances.abs()).clamp(min=0)


def _cubic(distances: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -1/2, 0 beyond 2."""
    x = distances.abs().clamp(max=2)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, far)


def _lanczos(distances: Tensor) -> Tensor:
    """sinc(x) sinc(x / 3), 0 beyond 3."""
    x = distances.abs().clamp(max=3)
    angles = math.pi * torch.where(x < _TINY, 1.0, x)
    windowed = 3 * torch.sin(angles) * torch.sin(angles / 3) / (angles * angles)
    return torch.where(x < _TINY, 1.0, windowed)


_MARGIN = 4
"""Number of further rows that `resample` takes, at each end, of an image that it enlarges."""
_TINY = 1e-4
"""So near to its centre the window is 1 within float32, and its formula would divide by almost nothing."""
_FILTERS: dict[Interpolation, Callable[[Tensor], Tensor]] = {
    "bilinear": _triangle,
    "bicubic": _cubic,
    "lanczos": _lanczos,
}


class ResizeAndCrop(nn.Module):
    """`Preprocessing.to_pixels` for a batch: (N, C, H, W) whole numbers 0..255 as float32 -> (N, C, h, w) likewise."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.resize_size = preprocessing.resize_size
        self.keeps_aspect = preprocessing.resize == "short_side"
        self.crop_size = preprocessing.crop_size
        self.fits = preprocessing.resize == "fit"
        self.interpolation: Interpolation = preprocessing.interpolation

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        resized_height, resized_width = self._resized_size(height, width)
        columns = resampling_weights(width, resized_width, self.crop_size[1], self.interpolation).T  # (W, w)
        rows = resampling_weights(height, resized_height, self.crop_size[0], self.interpolation)  # (h, H)
        across_first = _to_grey_levels(rows @ _to_grey_levels(images @ columns))  # (N, C, h, w)
        if not _CHOOSES_ORDER:
            return across_first
        # Which is first decides what is rounded, and clipped where a filter overshoots: up to tens of grey levels. Both
        # are computed because a branch in the graph is not every engine's strength.
        down_first = _to_grey_levels(_to_grey_levels(rows @ images) @ columns)
        sizes = (height, width, resized_height, resized_width)
        return torch.where(self._goes_down_first(*sizes), down_first, across_first)

    def _goes_down_first(self, height: int, width: int, resized_height: Tensor, resized_width: Tensor) -> Tensor:
        """Whether Pillow 13 passes down the columns first: where more than twice as many rows go as columns, and any.

        A true or false scalar. It counts the rows of what `resample` hands it: of an overlong image those that
        the kept part is made of, with a margin. (Of a wide image's columns all are counted here: none goes down first.)
        """
        size = torch.scalar_tensor(height, dtype=torch.int64)
        cut = (resized_height - MAX_ASPECT * self.resize_size).clamp(min=0) // 4 * 4 * int(self.keeps_aspect)
        start, kept = cut // 2, resized_height - cut
        first = (start * size // resized_height - _MARGIN).clamp(min=0)
        last = torch.minimum(-(-(start + kept) * size // resized_height) + _MARGIN, size)
        return (last - first) - kept > (2 * (width - resized_width)).clamp(min=0)

    def _resized_size(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Preprocessing.resized_size of a size that is known only when the graph runs, as whole scalars."""
        if self.fits:
            fitted_height, fitted_width = (torch.scalar_tensor(side, dtype=torch.int64) for side in self.crop_size)
            return fitted_height, fitted_width
        size = torch.scalar_tensor(self.resize_size, dtype=torch.int64)
        if not self.keeps_aspect:
            return size, size
        height_, width_ = (torch.scalar_tensor(side, dtype=torch.int64) for side in (height, width))
        short = torch.minimum(height_, width_)
        return size * height_ // short, size * width_ // short


def resampling_weights(length: int, resized_length: Tensor, kept: int, interpolation: Interpolation) -> Tensor:
    """Weights (kept, length) of the middle `kept` pixels of a side of `length` pixels resized to `resized_length`.

    Each row sums to 1. `resized_length` is a whole scalar of at least `kept`.
    """
    place = _first_kept(resized_length, kept) + torch.arange(kept)  # (kept,), in the whole resized side
    # The centre of a pixel, (place + 1/2) * length / resized_length, as a whole number and a fraction: engines that
    # have no float64 would lose a thousandth of a pixel in a photo's width.
    doubled = (2 * place + 1) * length
    whole = doubled // (2 * resized_length)
    fraction = (doubled - whole * (2 * resized_length)).to(torch.float64) / (2 * resized_length).to(torch.float64)
    offsets = (torch.arange(length)[None, :] - whole[:, None]).to(torch.float64) + (0.5 - fraction[:, None])
    scale = (length / resized_length.to(torch.float64)).clamp(min=1)
    weights = _FILTERS[interpolation](offsets / scale)  # (kept, length)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (torch.floor(weights * _UNIT + 0.5) / _UNIT).to(torch.float32)


def _first_kept(resized_length: Tensor, kept: int) -> Tensor:
    """Where the middle `kept` pixels begin, half a pixel being rounded to the even number, as `center` does."""
    spare = resized_length - kept
    half = spare // 2
    return half + (spare - 2 * half) * (half - 2 * (half // 2))


def _to_grey_levels(values: Tensor) -> Tensor:
    return torch.floor(values + 0.5).clamp(0, 255)
