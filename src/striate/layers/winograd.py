"""Winograd's minimal filtering for 3x3 convolutions of stride 1 (Lavin & Gray 2015, arXiv:1509.09308). N images, C
channels, K filters.

F(m x m, 3 x 3) makes m x m outputs from a tile of (m + 2) x (m + 2) inputs with (m + 2)^2 products a channel and filter
in place of 9 m^2: 16 for 36 (2.25 times fewer) with m = 2, 36 for 144 (4 times fewer) with m = 4. Y = A^T [(G g G^T) *
(B^T d B)] A, where only the star multiplies what depends on both the filter and the image. The matrices are exact
fractions; rounding of what they mix is the price, and grows with m.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.errors import InputError

_INPUT = {
    2: [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    4: [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
}
_FILTER = {
    2: [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    4: [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
}
_OUTPUT = {
    2: [[1, 1, 1, 0], [0, 1, -1, -1]],
    4: [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
}
"""Section 4.1 and 4.3: B^T, G and A^T."""


def winograd_conv2d(
    images: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: int = 1, tile: int = 2
) -> Tensor:
    """Images (N, C, H, W), weight (K, C, 3, 3), bias (K,) -> (N, K, H + 2 padding - 2, W + 2 padding - 2), as
    `F.conv2d` to rounding.

    `tile` is m, 2 or 4. It computes in the type of the images, and is written to be read: an engine's own is faster.
    InputError for other filters or tiles, and for images smaller than a filter.
    """
    if tile not in _INPUT:
        raise InputError(f"tile must be 2 or 4 but is {tile!r}")
    if images.ndim != 4 or weight.ndim != 4 or weight.shape[2:] != (3, 3) or weight.shape[1] != images.shape[1]:
        raise InputError(
            f"expected images (N, C, H, W) and weight (K, C, 3, 3) but got {tuple(images.shape)} and "
            f"{tuple(weight.shape)}"
        )
    height, width = (size + 2 * padding - 2 for size in images.shape[2:])
    if min(height, width) < 1:
        raise InputError(
            f"images of {tuple(images.shape[2:])} pixels with padding {padding} are smaller than the filter"
        )
    to_input, to_filter, to_output = (_matrix(name, tile, images.dtype, images.device) for name in "BGA")
    rows, columns = -(-height // tile), -(-width // tile)
    fill = (padding, padding + columns * tile - width, padding, padding + rows * tile - height)
    tiles = F.pad(images, fill).unfold(2, tile + 2, tile).unfold(3, tile + 2, tile)  # (N, C, rows, columns, m+2, m+2)
    inputs = to_input @ tiles @ to_input.T
    filters = to_filter @ weight.to(images.dtype) @ to_filter.T  # (K, C, m+2, m+2)
    products = torch.einsum("ncrsij,kcij->nkrsij", inputs, filters)
    outputs = to_output @ products @ to_output.T  # (N, K, rows, columns, m, m)
    joined = outputs.permute(0, 1, 2, 4, 3, 5).reshape(len(images), len(weight), rows * tile, columns * tile)
    result = joined[:, :, :height, :width]
    return result if bias is None else result + bias.to(images.dtype)[:, None, None]


def winograd_products(images: tuple[int, int, int], num_filters: int, *, padding: int = 1, tile: int = 2) -> int:
    """How many products of filter and image one image (C, H, W) takes, in place of the convolution's multiply-adds;
    transforms not counted.
    """
    if tile not in _INPUT:
        raise InputError(f"tile must be 2 or 4 but is {tile!r}")
    channels, height, width = images
    rows, columns = (-(-(size + 2 * padding - 2) // tile) for size in (height, width))
    return rows * columns * (tile + 2) ** 2 * channels * num_filters


def transform_error(images: Tensor, weight: Tensor, *, tile: int, dtype: torch.dtype) -> float:
    """The root mean square error of the transform in `dtype` beside a float64 convolution, in parts of the root mean
    square of the output.
    """
    exact = F.conv2d(images.double(), weight.double(), padding=1)
    found = winograd_conv2d(images.to(dtype), weight.to(dtype), tile=tile).double()
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@cache
def _matrix(name: str, tile: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    tables: dict[str, dict[int, list[list[float]]]] = {"B": _INPUT, "G": _FILTER, "A": _OUTPUT}  # type: ignore[dict-item]
    values = tables[name][tile]
    return torch.tensor(values, dtype=torch.float64).to(dtype).to(device)
