"""Weights in 8 bits: each filter of a convolution and each row of a dense layer is whole numbers from -127 to 127 times
a scale of its own.

Symmetric, so that 0 is 0, and per channel (Jacob et al. 2018, arXiv:1712.05877; Nagel et al. 2021, arXiv:2106.08295,
section 2.2). Scales are numbers of 16 bits: a product of such a scale and a whole number of 8 bits is exact in 32, so
the file gives back the very weights.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from striate.compression.weights_of import weight_of, weighted_layers

LARGEST = 127


def row_scales(weight: Tensor) -> Tensor:
    """Weight (K, ...) -> its scales (K, 1, ...), float32 numbers that 16 bits hold; 1 where a row is all 0."""
    largest = weight.detach().abs().flatten(1).amax(1)
    smallest = torch.finfo(torch.float16).tiny
    scales = (largest / LARGEST).clamp(min=smallest).to(torch.float16).to(weight.dtype)
    scales = torch.where(largest > 0, scales, 1.0)
    return scales.reshape(-1, *[1] * (weight.ndim - 1))


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (K, ...) -> whole numbers of the same shape, int8, and scales (K, 1, ...)."""
    scales = row_scales(weight)
    return (weight / scales).round().clamp(-LARGEST, LARGEST).to(torch.int8), scales


@torch.no_grad()
def quantize_weights(network: nn.Module) -> None:
    """Round the weights of all convolutions and dense layers to 8 bits, in place."""
    for layer in weighted_layers(network).values():
        numbers, scales = quantized(weight_of(layer))
        weight_of(layer).copy_(numbers.to(scales.dtype) * scales)


class Rounded(nn.Module):
    """A weight as 8 bits hold it; its gradient passes straight through (Bengio, Léonard & Courville 2013,
    arXiv:1308.3432).
    """

    def forward(self, weight: Tensor) -> Tensor:
        """The weight's shape is kept."""
        rounded: Tensor = _Round.apply(weight)
        return rounded

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, weight: Tensor) -> Tensor:
        numbers, scales = quantized(weight)
        return numbers.to(weight.dtype) * scales

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def rounded_copy(network: nn.Module) -> nn.Module:
    """A copy to be trained that computes with rounded weights."""
    trainee = copy.deepcopy(network)
    for layer in weighted_layers(trainee).values():
        parametrize.register_parametrization(layer, "weight", Rounded())
    return trainee
