"""How many windows fit: the lectures' cases, torch's own answers, and every refusal."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from striate.errors import InputError
from striate.layers.output_size import output_size, split_padding, transposed_output_size


@pytest.mark.parametrize(
    ("size", "options", "outputs"),
    [
        (227, {"kernel_size": 11, "stride": 4}, 55),  # AlexNet's first layer
        (55, {"kernel_size": 3, "stride": 2}, 27),
        (27, {"kernel_size": 5, "padding": 2}, 27),
        (5, {"kernel_size": 3, "stride": 2, "padding": 1}, 3),
        (3, {"kernel_size": 3, "stride": 2, "padding": 1}, 2),
        (7, {"kernel_size": 3, "stride": 2}, 3),
        (7, {"kernel_size": 3, "dilation": 2}, 3),  # it sees five pixels
        (7, {"kernel_size": 3, "padding": "valid"}, 5),
        (7, {"kernel_size": 4, "padding": "same", "dilation": 3}, 7),
        (7, {"kernel_size": 7}, 1),
    ],
)
def test_on_paper(size, options, outputs):
    assert output_size(size, **options, rounding="exact") == outputs


def test_what_does_not_divide():
    """The lectures' example: 7 pixels, 3x3 windows, stride 3 does not fit."""
    assert output_size(7, 3, stride=3) == 2
    assert output_size(7, 3, stride=3, rounding="up") == 3
    with pytest.raises(InputError, match=r"\(7 - 3 \+ 0\) / 3 \+ 1 = 2\.33333 is no whole number .* last 1 pixels"):
        output_size(7, 3, stride=3, rounding="exact")


def test_up_never_starts_a_window_beyond_the_end():
    assert output_size(2, 1, stride=3, padding=0, rounding="up") == 1  # a second one would begin at pixel 3
    assert output_size(4, 1, stride=2, rounding="up") == 2


@given(
    size=st.integers(1, 12),
    kernel_size=st.integers(1, 5),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    padding=st.integers(0, 4),
)
@settings(max_examples=100, deadline=None)
def test_torch_agrees(size, kernel_size, stride, dilation, padding):
    signal = torch.empty(1, 1, size, device="meta")
    weight = torch.empty(1, 1, kernel_size, device="meta")
    options = {"stride": stride, "dilation": dilation, "padding": padding}
    if dilation * (kernel_size - 1) + 1 > size + 2 * padding:
        with pytest.raises(InputError, match=r"does not fit on \d+ pixels with \d+ of padding; pad more"):
            output_size(size, kernel_size, **options)
        return
    assert F.conv1d(signal, weight, **options).shape[2] == output_size(size, kernel_size, **options)
    if padding <= kernel_size // 2:
        pooled = F.max_pool1d(signal, kernel_size, ceil_mode=True, **options)
        assert pooled.shape[2] == output_size(size, kernel_size, rounding="up", **options)
    for extra in range(stride):
        made = stride * (size - 1) - 2 * padding + dilation * (kernel_size - 1) + 1 + extra
        if made < 1:
            continue
        assert transposed_output_size(size, kernel_size, output_padding=extra, **options) == made
        assert output_size(made, kernel_size, **options) == size
        if extra < max(stride, dilation):
            enlarged = F.conv_transpose1d(signal, weight, output_padding=extra, **options)
            assert enlarged.shape[2] == made


def test_same_puts_the_odd_pixel_after():
    assert split_padding("same", 4) == (1, 2)
    assert split_padding("valid", 4) == (0, 0)
    assert split_padding(3, 4) == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0, "kernel_size": 1}, "size must be at least 1 but is 0"),
        ({"size": 5, "kernel_size": 0}, "kernel_size must be at least 1 but is 0"),
        ({"size": 5, "kernel_size": 1, "stride": 0}, "stride must be at least 1 but is 0"),
        ({"size": 5, "kernel_size": 1, "padding": -1}, "padding must be at least 0, 'valid' or 'same' but is -1"),
        (
            {"size": 5, "kernel_size": 1, "padding": "full"},
            "padding must be at least 0, 'valid' or 'same' but is 'full'",
        ),
        (
            {"size": 5, "kernel_size": 3, "padding": "same", "stride": 2},
            "a meaning at stride 1 only but the stride is 2",
        ),
        ({"size": 5, "kernel_size": 3, "rounding": "nearest"}, "must be 'down', 'up' or 'exact' but is 'nearest'"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(InputError, match=message):
        output_size(**arguments)


def test_refusals_transposed():
    with pytest.raises(InputError, match="output_padding must be at least 0 and below the stride, 2, but is 2"):
        transposed_output_size(5, 3, stride=2, output_padding=2)
    with pytest.raises(InputError, match="a padding of 2 takes away all of the output"):
        transposed_output_size(1, 3, padding=2)
    with pytest.raises(InputError, match="padding must be at least 0 but is -1"):
        transposed_output_size(1, 3, padding=-1)
