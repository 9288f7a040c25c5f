"""The ways back to a larger image: fixed transposed convolutions, and max unpooling with the pooling layer's indices.

N images, C channels, h x w pixels in, H x W out, F filter size, f factor. Transposed convolutions that learn are
torch's nn.ConvTranspose2d; the layers here are those with weights to start from.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from striate.errors import InputError

Kind = Literal["nearest", "bed_of_nails", "bilinear"]


def upsampling_layer(channels: int, factor: int, kind: Kind = "bilinear") -> nn.ConvTranspose2d:
    """A transposed convolution that enlarges each channel by itself: (N, C, h, w) -> (N, C, f * h, f * w).

    Its weights can be trained; FCN (Long, Shelhamer & Darrell 2014, arXiv:1411.4038) starts from "bilinear". Pixels are
    squares whose centres keep their places, as in F.interpolate with `align_corners=False`; but what lies outside of
    the image is 0 here, and there the outermost pixel, so that "bilinear" differs along the border.
    """
    weight = upsampling_filter(factor, kind)
    kernel_size = len(weight)
    layer = nn.ConvTranspose2d(
        channels, channels, kernel_size, stride=factor, padding=(kernel_size - factor) // 2, groups=channels, bias=False
    )
    with torch.no_grad():
        layer.weight.copy_(weight.expand_as(layer.weight))
    return layer


def upsampling_filter(factor: int, kind: Kind = "bilinear") -> Tensor:
    """The upsampling kernel: (F, F) weights, F being f, and for "bilinear" 2f or, if f is odd, 2f - 1.

    "nearest" fills a square of f x f, "bed_of_nails" only its upper left corner; "bilinear" falls off in a straight
    line to the centres of its neighbours.
    """
    if factor < 1:
        raise InputError(f"factor must be at least 1 but is {factor}")
    match kind:
        case "nearest":
            return torch.ones(factor, factor)
        case "bed_of_nails":
            nails = torch.zeros(factor, factor)
            nails[0, 0] = 1
            return nails
        case "bilinear":
            kernel_size = 2 * factor - factor % 2
            distances = (torch.arange(kernel_size) - (kernel_size - 1) / 2).abs()
            line = 1 - distances / factor
            return line[:, None] * line
        case _:
            raise InputError(f"kind must be 'nearest', 'bed_of_nails' or 'bilinear' but is {kind!r}")


def max_unpool(maps: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
    """Every value where its maximum was, 0 elsewhere: (N, C, h, w) and indices of the same shape -> (N, C, H, W).

    `indices` count the pixels of one map, row by row, as max pooling with `return_indices=True` gives them, and `size`
    is (H, W) of what was pooled: any size, where F.max_unpool2d wants one that its windows would give. Where windows
    overlap, one pixel may be the maximum of several: it takes the mean of their values, on every device. InputError
    where the shapes do not fit; an index beyond the size is torch's own RuntimeError.
    """
    if maps.shape != indices.shape or maps.ndim < 3:
        raise InputError(
            f"maps {tuple(maps.shape)} and indices {tuple(indices.shape)} must be alike, (N, C, h, w); "
            "take both from the same pooling"
        )
    height, width = size
    flat = maps.new_zeros(*maps.shape[:-2], height * width)
    flat = flat.scatter_reduce(-1, indices.flatten(-2), maps.flatten(-2), "mean", include_self=False)
    return flat.unflatten(-1, (height, width))
