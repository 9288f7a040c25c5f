"""Networks trained with weights of two or three values.

`Ternary` is trained ternary quantisation (Zhu, Han, Mao & Dally 2016, arXiv:1612.01064): each weight of a layer is 0, a
trained positive or a trained negative number. `Binary` is the binary-weight network of Rastegari et al. 2016
(arXiv:1603.05279, section 3.1): each filter is a sign pattern times the mean of its magnitudes. Both keep full weights
while they train, and lose them at the end.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from striate.compression.weights_of import weight_of, weighted_layers

THRESHOLD = 0.05
"""Weights below this part of the layer's largest magnitude are 0 (2016, equation 9)."""


class Ternary(nn.Module):
    """Full weight and two numbers -> weight of three values."""

    def forward(self, weight: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The weight's shape is kept; `positive` and `negative` are scalars above 0."""
        ternary: Tensor = _Ternary.apply(weight, positive, negative)
        return ternary

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Start from a plain weight: the two numbers are the mean magnitudes of what they stand for."""
        bound = THRESHOLD * weight.abs().max()
        means = [
            each.abs().mean() if len(each) else bound for each in (weight[weight > bound], weight[weight < -bound])
        ]
        return weight, means[0], means[1]


class _Ternary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        bound = THRESHOLD * weight.abs().max()
        is_positive, is_negative = weight > bound, weight < -bound
        ctx.save_for_backward(is_positive, is_negative, positive, negative)
        return positive * is_positive.to(weight.dtype) - negative * is_negative.to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Equations 7 and 8; the negative number enters with a minus here, so its gradient has the other sign.

        Those of the two numbers are means over their weights and not sums, so that one learning rate does for them and
        for the weights.
        """
        is_positive, is_negative, positive, negative = ctx.saved_tensors
        grad = grads[0]
        scale = torch.where(is_positive, positive, torch.where(is_negative, negative, 1.0))
        means = [(grad * each).sum() / each.sum().clamp(min=1) for each in (is_positive, is_negative)]
        return grad * scale, means[0], -means[1]


class Binary(nn.Module):
    """Full weight -> signs times the mean magnitude of each filter; gradients pass where |weight| <= 1 (equation 6,
    straight through).
    """

    def forward(self, weight: Tensor) -> Tensor:
        """The weight's shape is kept."""
        binary: Tensor = _Binary.apply(weight)
        return binary

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


class _Binary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        scale = weight.abs().mean(dim=tuple(range(1, weight.ndim)), keepdim=True)
        ctx.save_for_backward(weight, scale)
        return torch.where(weight >= 0, scale, -scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """d/dw of sign(w) * mean |w|: through the sign where |w| <= 1, and through the mean with 1 / n (equation 6)."""
        weight, scale = ctx.saved_tensors
        num = weight[0].numel()
        through_mean = (
            (grads[0] * weight.sign()).sum(dim=tuple(range(1, weight.ndim)), keepdim=True) * weight.sign() / num
        )
        return grads[0] * scale * (weight.abs() <= 1) + through_mean


def with_few_values(network: nn.Module, kind: str) -> nn.Module:
    """A copy to be trained, every layer between the first and the last with weights of few values: "ternary" or
    "binary".

    First and last stay full, as in both papers. Where there are no more than two layers all change.
    """
    trainee = copy.deepcopy(network)
    layers = list(weighted_layers(trainee).values())
    for layer in layers[1:-1] if len(layers) > 2 else layers:
        weight_of(layer)
        parametrize.register_parametrization(layer, "weight", Ternary() if kind == "ternary" else Binary())
    return trainee
