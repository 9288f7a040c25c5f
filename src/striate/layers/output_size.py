"""Output size of a sliding window along one side: N places in, windows of F, stride S, padding P at either end.

Convolution and pooling give (N - D(F - 1) - 1 + 2P) / S + 1 with the dilation D, which without dilation is the
lectures' (N - F + 2P) / S + 1. PyTorch rounds it down without a word.
"""

from typing import Literal

from striate.errors import InputError

Rounding = Literal["down", "up", "exact"]
Padding = int | Literal["valid", "same"]


def output_size(
    size: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: Padding = 0,
    dilation: int = 1,
    rounding: Rounding = "down",
) -> int:
    """Number of windows that fit on `size` pixels.

    `padding` is that of either end; "valid" is none, "same" as much as gives `size` outputs at stride 1. Where the
    stride does not divide, `rounding` decides: "down" leaves the last pixels out, as torch; "up" lets the last window
    hang over the end if it begins before it, as torch's `ceil_mode` of pooling; "exact" raises InputError. InputError
    also for numbers out of range, and where not even one window fits.
    """
    _check(size=size, kernel_size=kernel_size, stride=stride, dilation=dilation)
    if rounding not in ("down", "up", "exact"):
        raise InputError(f"rounding must be 'down', 'up' or 'exact' but is {rounding!r}")
    first, last = split_padding(padding, kernel_size, dilation=dilation, stride=stride)
    span = dilation * (kernel_size - 1) + 1
    room = size + first + last - span
    if room < 0:
        raise InputError(
            f"a window of {span} pixels does not fit on {size} pixels with {first + last} of padding; "
            "pad more or take a smaller window"
        )
    if rounding == "exact" and room % stride:
        raise InputError(
            f"({size} - {span} + {first + last}) / {stride} + 1 = {room / stride + 1:g} is no whole number of windows; "
            f"the last {room % stride} pixels would be left out"
        )
    steps = room // stride
    if rounding == "up" and room % stride and (steps + 1) * stride < size + first:
        steps += 1
    return steps + 1


def transposed_output_size(
    size: int, kernel_size: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """Output size of a transposed convolution on `size` pixels: S(N - 1) - 2P + D(F - 1) + 1 and the output padding.

    These are the pixels on which `output_size` gives `size` back. A stride S leaves S choices, between which
    `output_padding` from 0 to S - 1 decides. InputError for numbers out of range, and where nothing would be left.
    """
    _check(size=size, kernel_size=kernel_size, stride=stride, dilation=dilation)
    if not 0 <= output_padding < stride:
        raise InputError(f"output_padding must be at least 0 and below the stride, {stride}, but is {output_padding}")
    if padding < 0:
        raise InputError(f"padding must be at least 0 but is {padding}")
    made = stride * (size - 1) - 2 * padding + dilation * (kernel_size - 1) + 1 + output_padding
    if made < 1:
        raise InputError(f"a padding of {padding} takes away all of the output; take less")
    return made


def split_padding(padding: Padding, kernel_size: int, *, dilation: int = 1, stride: int = 1) -> tuple[int, int]:
    """Pixels of padding before and after. "same" puts the odd one after, as torch, and goes with stride 1 only."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        if stride != 1:
            raise InputError(f"padding='same' has a meaning at stride 1 only but the stride is {stride}; give a number")
        total = dilation * (kernel_size - 1)
        return total // 2, total - total // 2
    if isinstance(padding, str) or padding < 0:
        raise InputError(f"padding must be at least 0, 'valid' or 'same' but is {padding!r}")
    return padding, padding


def _check(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} must be at least 1 but is {count}")
