"""A convolution as a matrix: on paper, and against torch for whatever hypothesis finds."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from striate.errors import InputError
from striate.layers.toeplitz import convolution_matrix, transposed_convolution_matrix


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_one_dimension_on_paper():
    """The numbers of the filter along every diagonal; a stride of 2 leaves out every second row."""
    weight = torch.tensor([[[1.0, 2, 3]]])
    rows = torch.tensor([[1.0, 2, 3, 0, 0], [0, 1, 2, 3, 0], [0, 0, 1, 2, 3]])
    assert torch.equal(convolution_matrix(weight, (5,)), rows)
    assert torch.equal(convolution_matrix(weight, (5,), stride=2), rows[::2])
    padded = torch.tensor([[2.0, 3, 0], [1, 2, 3], [0, 1, 2]])
    assert torch.equal(convolution_matrix(weight, (3,), padding=1), padded)
    assert torch.equal(convolution_matrix(weight, (3,), padding="same"), padded)
    assert torch.equal(convolution_matrix(weight, (5,), dilation=2), torch.tensor([[1.0, 0, 2, 0, 3]]))


def test_two_dimensions_on_paper():
    """Blocks of the filter's rows, each a small Toeplitz matrix, along the diagonals of a larger one."""
    matrix = convolution_matrix(torch.tensor([[[[1.0, 2], [3, 4]]]]), (2, 3))
    assert torch.equal(matrix, torch.tensor([[1.0, 2, 0, 3, 4, 0], [0, 1, 2, 0, 3, 4]]))


def test_groups_are_blocks():
    weight = torch.tensor([[[1.0]], [[2.0]]])
    assert torch.equal(convolution_matrix(weight, (1,), groups=2), torch.diag(torch.tensor([1.0, 2.0])))
    assert torch.equal(convolution_matrix(weight, (1,)), torch.tensor([[1.0], [2.0]]))


settings_of_a_convolution = {
    "size": st.tuples(st.integers(1, 6), st.integers(1, 6)),
    "kernel_size": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "stride": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
    "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
    "groups": st.integers(1, 2),
}


@given(**settings_of_a_convolution)
@settings(max_examples=60, deadline=None)
def test_the_matrix_does_what_conv2d_does(size, kernel_size, stride, padding, dilation, groups):
    assume(all(d * (f - 1) < n + 2 * p for n, f, p, d in zip(size, kernel_size, padding, dilation, strict=True)))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    weight, images = drawn(2 * groups, 2, *kernel_size), drawn(3, 2 * groups, *size, seed=1)
    matrix = convolution_matrix(weight, size, **options)
    torch.testing.assert_close(images.flatten(1) @ matrix.T, F.conv2d(images, weight, **options).flatten(1))


@given(**settings_of_a_convolution, output_padding=st.tuples(st.integers(0, 2), st.integers(0, 2)))
@settings(max_examples=60, deadline=None)
def test_its_transpose_does_what_conv_transpose2d_does(
    size, kernel_size, stride, padding, dilation, groups, output_padding
):
    made = [
        s * (n - 1) - 2 * p + d * (f - 1) + 1 + extra
        for n, f, s, p, d, extra in zip(size, kernel_size, stride, padding, dilation, output_padding, strict=True)
    ]
    assume(min(made) >= 1 and all(extra < s for extra, s in zip(output_padding, stride, strict=True)))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
    weight, maps = drawn(2 * groups, 2, *kernel_size), drawn(3, 2 * groups, *size, seed=1)
    matrix = transposed_convolution_matrix(weight, size, groups=groups, **options)
    expected = F.conv_transpose2d(maps, weight, groups=groups, **options)
    torch.testing.assert_close(maps.flatten(1) @ matrix.T, expected.flatten(1))


@given(size=st.integers(4, 9), stride=st.integers(1, 3), padding=st.integers(0, 2), dilation=st.integers(1, 2))
@settings(max_examples=30, deadline=None)
def test_one_dimension_is_conv1d(size, stride, padding, dilation):
    weight, signals = drawn(3, 2, 2), drawn(2, 2, size, seed=1)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    matrix = convolution_matrix(weight, (size,), **options)
    torch.testing.assert_close(signals.flatten(1) @ matrix.T, F.conv1d(signals, weight, **options).flatten(1))
    back = transposed_convolution_matrix(weight, (size,), stride=stride, dilation=dilation)
    maps = drawn(2, 3, size, seed=2)
    expected = F.conv_transpose1d(maps, weight, stride=stride, dilation=dilation)
    torch.testing.assert_close(maps.flatten(1) @ back.T, expected.flatten(1))


@given(a=st.floats(-5, 5), b=st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_convolution_is_linear_in_its_input(a, b):
    weight, first, second = drawn(4, 3, 3, 3), drawn(1, 3, 5, 5, seed=1), drawn(1, 3, 5, 5, seed=2)
    whole = F.conv2d(a * first + b * second, weight, padding=1)
    torch.testing.assert_close(whole, a * F.conv2d(first, weight, padding=1) + b * F.conv2d(second, weight, padding=1))


def test_gradients_reach_the_weight():
    weight, images = drawn(2, 1, 3, 3).requires_grad_(), drawn(1, 1, 4, 4, seed=1)
    (by_matrix,) = torch.autograd.grad((convolution_matrix(weight, (4, 4)) @ images.flatten()).square().sum(), weight)
    (by_torch,) = torch.autograd.grad(F.conv2d(images, weight).square().sum(), weight)
    torch.testing.assert_close(by_matrix, by_torch)


@pytest.mark.parametrize(
    ("weight", "size", "options", "message"),
    [
        ((2, 2, 3), (5, 5), {}, r"expected a weight \(M, C, F\) with a size .* but got \(2, 2, 3\) with \(5, 5\)"),
        ((2, 2, 3, 3), (5, 5), {"groups": 3}, "2 maps cannot be divided among 3 groups"),
        ((2, 2, 3, 3), (5, 5), {"stride": (1, 2, 3)}, r"stride needs one number or 2 but is \(1, 2, 3\)"),
        ((2, 2, 3, 3), (2, 5), {}, "a window of 3 pixels does not fit on 2 pixels"),
    ],
)
def test_refusals(weight, size, options, message):
    with pytest.raises(InputError, match=message):
        convolution_matrix(torch.zeros(weight), size, **options)
