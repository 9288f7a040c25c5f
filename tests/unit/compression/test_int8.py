"""Weights of 8 bits: by hand, beside torch's own quantiser, and through the file."""

import numpy as np
import torch
from torch import nn

from striate.compression.int8 import quantize_weights, quantized, rounded_copy
from striate.weights.coded_tensor import decode_tensor, encode_tensor


def test_by_hand():
    numbers, scales = quantized(torch.tensor([[127.0, -63.6, 0.4], [0.0, 0.0, 0.0]]))
    assert numbers.tolist() == [[127, -64, 0], [0, 0, 0]]
    assert scales.flatten().tolist() == [1.0, 1.0]


def test_beside_torch():
    weight = torch.randn(16, 8, 3, 3)
    numbers, scales = quantized(weight)
    other = torch.fake_quantize_per_channel_affine(
        weight, scales.flatten(), torch.zeros(16, dtype=torch.int32), 0, -127, 127
    )
    assert torch.equal(numbers.float() * scales, other)
    assert (numbers.flatten(1).abs().amax(1) == 127).all()


def test_the_file_holds_one_byte_a_weight_and_gives_back_the_very_weights():
    network = nn.Sequential(nn.Conv2d(8, 32, 3), nn.Flatten(), nn.Linear(200, 30))
    quantize_weights(network)
    for layer in (network[0], network[2]):
        coded = encode_tensor("w", layer.weight.detach())
        assert coded.kind == "scaled"
        assert coded.num_weights + len(coded.plain) < 1.3 * layer.weight.numel()
        assert torch.equal(decode_tensor(coded, coded.symbols), layer.weight)
    again = network[0].weight.clone()
    quantize_weights(network)
    assert torch.equal(network[0].weight, again)


def test_integer_arithmetic_gives_what_the_rounded_weights_give():
    """Whole-number images times whole-number weights, added up in integers: the products that float64 adds up, bit for
    bit.
    """
    numbers, scales = quantized(nn.Conv2d(3, 5, 3, bias=False).weight)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 6, 6))
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(2, 3))  # (2, 3, 4, 4, 3, 3)
    sums = np.einsum("nchwij,kcij->nkhw", windows.astype(np.int64), numbers.numpy().astype(np.int64))
    found = torch.nn.functional.conv2d(torch.tensor(images).double(), numbers.double())
    assert np.array_equal(found.numpy(), sums)
    rounded = torch.nn.functional.conv2d(torch.tensor(images).double(), numbers.double() * scales.detach().double())
    assert np.allclose(rounded.numpy(), sums * scales.detach().double().numpy().reshape(1, -1, 1, 1), rtol=1e-12)


def test_training_with_rounded_weights_moves_the_full_ones():
    network = nn.Sequential(nn.Linear(6, 4))
    trainee = rounded_copy(network)
    assert len(torch.unique(torch.round(trainee[0].weight / quantized(network[0].weight)[1]) * 1.0)) <= 255
    trainee(torch.ones(2, 6)).sum().backward()
    assert torch.equal(trainee[0].parametrizations.weight.original.grad, torch.full((4, 6), 2.0))
