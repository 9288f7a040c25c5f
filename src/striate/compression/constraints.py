"""Train what is left: zeros stay zeros, and shared weights stay equal (Han, Mao & Dally 2015, arXiv:1510.00149,
sections 2 and 3).

A weight is replaced by a function of fewer numbers, which are what is trained; the network computes as before.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from striate.compression.weights_of import weight_of, weighted_layers

MOST_SHARED = 1024
"""A layer with no more different non-zero weights than this, and eight times as many weights, counts as shared."""


class Masked(nn.Module):
    """A weight whose pruned places stay 0, whatever is trained."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Any weight -> the same with zeros where the mask is False."""
        return weight.where(self.mask, 0.0)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


class Shared(nn.Module):
    """A weight made of a codebook (K,): place i holds codebook[indices[i] - 1], or 0 where the index is 0.

    The gradient of a centroid is the sum of those of its weights (equation 3).
    """

    indices: Tensor

    def __init__(self, indices: Tensor, codebook: Tensor) -> None:
        super().__init__()
        self.register_buffer("indices", indices)
        self.first_codebook = codebook

    def forward(self, codebook: Tensor) -> Tensor:
        """Codebook (K,) -> weight."""
        weight: Tensor = _Lookup.apply(codebook, self.indices)
        return weight

    def right_inverse(self, _weight: Tensor) -> Tensor:
        return self.first_codebook


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, codebook: Tensor, indices: Tensor) -> Tensor:
        ctx.save_for_backward(indices)
        ctx.num_shared = len(codebook)
        return torch.cat([codebook.new_zeros(1), codebook])[indices]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (indices,) = ctx.saved_tensors
        sums = torch.bincount(indices.reshape(-1), weights=grads[0].reshape(-1), minlength=ctx.num_shared + 1)
        return sums[1:].to(grads[0].dtype), None


def constrained_copy(network: nn.Module, keeps_shared: bool = True) -> nn.Module:
    """A copy of the network to be trained: its zero weights stay zero, and in layers that share few values equal
    weights stay equal.

    Which weights those are is read off the network itself; `keeps_shared` False lets shared weights move apart.
    """
    trainee = copy.deepcopy(network)
    for layer in weighted_layers(trainee).values():
        weight = weight_of(layer).detach()
        values, indices = weight.unique(return_inverse=True)
        if keeps_shared and is_shared(weight, len(values)):
            parametrize.register_parametrization(layer, "weight", _shared(values, indices), unsafe=True)
        elif (weight == 0).any():
            parametrize.register_parametrization(layer, "weight", Masked(weight != 0), unsafe=True)
    return trainee


def is_shared(weight: Tensor, num_values: int) -> bool:
    """Whether a weight with so many different values, 0 among them, counts as shared: few values, and many weights for
    each.
    """
    return num_values <= MOST_SHARED and 8 * num_values <= weight.numel()


def take_weights(network: nn.Module, trainee: nn.Module) -> None:
    """Put what `trainee`, a constrained copy, has learnt into the network, in place: weights, biases, running
    statistics.
    """
    with torch.no_grad():
        learnt = dict(trainee.named_modules())
        for name, module in network.named_modules():
            for key, value in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
                value.copy_(getattr(learnt[name], key))


def _shared(values: Tensor, indices: Tensor) -> Shared:
    """The codebook of the non-zero ones among these values (ascending), and indices into it that leave 0 for zeros."""
    is_zero = values == 0
    numbers = torch.where(is_zero, 0, (~is_zero).cumsum(0))
    return Shared(numbers[indices], values[~is_zero])
