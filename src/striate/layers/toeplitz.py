"""A convolution written out as the matrix that it is: a Toeplitz matrix, the same numbers along every diagonal.

C channels in, M maps out, F filter size, H x W pixels in, h x w out; one-dimensional signals have W alone. Images are
flattened as `images.flatten(1)` does it, channel by channel, row by row. What torch calls convolution is correlation:
the filter is not turned round.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from striate.errors import InputError
from striate.layers.output_size import Padding, output_size, split_padding, transposed_output_size

PerAxis = int | tuple[int, ...]


def convolution_matrix(
    weight: Tensor,
    size: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: PerAxis | str = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """The matrix (M * h * w, C * H * W) with `matrix @ image.flatten() == F.conv2d(image, weight).flatten()`.

    `weight` is (M, C / groups, F, F) and `size` (H, W), or (M, C / groups, F) and (W,) in one dimension; the other
    arguments are those of F.conv2d. The matrix is dense, and differentiable in the weight. InputError where the shapes
    do not fit each other.
    """
    num_axes = weight.ndim - 2
    if num_axes not in (1, 2) or len(size) != num_axes:
        raise InputError(
            f"expected a weight (M, C, F) with a size (W,), or (M, C, F, F) with (H, W), but got {tuple(weight.shape)} "
            f"with {tuple(size)}"
        )
    if groups < 1 or len(weight) % groups:
        raise InputError(f"{len(weight)} maps cannot be divided among {groups} groups")
    windows = [
        _windows(weight, axis, side, step, pad, spread)
        for axis, (side, step, pad, spread) in enumerate(
            zip(
                size,
                _per_axis("stride", stride, num_axes),
                _per_axis("padding", padding, num_axes),
                _per_axis("dilation", dilation, num_axes),
                strict=True,
            )
        )
    ]
    if num_axes == 1:  # an image one pixel high
        weight, windows = weight.unsqueeze(2), [weight.new_ones(1, 1, 1), *windows]
    return torch.block_diag(*(_matrix_of_group(part, *windows) for part in weight.chunk(groups)))


def transposed_convolution_matrix(
    weight: Tensor,
    size: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """The same for F.conv_transpose2d on maps of `size` (h, w): the transpose of a convolution's matrix.

    `weight` (M, C / groups, F, F) takes M maps to C, the way back of the convolution with the same weight.
    `output_padding` chooses among the sizes from which that convolution comes to `size`.
    """
    num_axes = weight.ndim - 2
    options = {
        "stride": _per_axis("stride", stride, num_axes),
        "padding": _per_axis("padding", padding, num_axes),
        "dilation": _per_axis("dilation", dilation, num_axes),
        "output_padding": _per_axis("output_padding", output_padding, num_axes),
    }
    sizes = [
        transposed_output_size(side, kernel_size, **{name: values[axis] for name, values in options.items()})
        for axis, (side, kernel_size) in enumerate(zip(size, weight.shape[2:], strict=True))
    ]
    matrix = convolution_matrix(weight, sizes, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return matrix.T


def _windows(weight: Tensor, axis: int, size: int, stride: int, padding: Padding, dilation: int) -> Tensor:
    """The pixel that each place of each window reads: (outputs, F, size), 1 there and else 0, in the weight's type.

    A place over the padding looks at nothing.
    """
    kernel_size = weight.shape[2 + axis]
    num_outputs = output_size(size, kernel_size, stride=stride, padding=padding, dilation=dilation)
    before, _ = split_padding(padding, kernel_size, dilation=dilation, stride=stride)
    starts = torch.arange(num_outputs, device=weight.device) * stride - before
    places = starts[:, None] + torch.arange(kernel_size, device=weight.device) * dilation  # (outputs, F)
    return (places[..., None] == torch.arange(size, device=weight.device)).to(weight.dtype)


def _matrix_of_group(weight: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Weight (m, c, F, G), windows (h, F, H) and (w, G, W) -> (m * h * w, c * H * W)."""
    entries = torch.einsum("mcfg,hfy,wgx->mhwcyx", weight, rows, columns)
    return entries.flatten(3).flatten(0, 2)


def _per_axis(name: str, value: PerAxis | str, num_axes: int) -> tuple[Any, ...]:
    values = value if isinstance(value, tuple) else (value,) * num_axes
    if len(values) != num_axes:
        raise InputError(f"{name} needs one number or {num_axes} but is {value}")
    return values
