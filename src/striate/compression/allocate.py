"""How many shared values each layer gets: more where the loss minds an error, fewer where a bit costs much (Choi,
El-Khamy & Lee 2017, arXiv:1612.01543).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.compression.share import k_means
from striate.compression.weights_of import weight_of, weighted_layers
from striate.weights.coding.frequencies import entropy_bits

CHOICES = (8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 256)


@dataclass(frozen=True)
class Option:
    """Sharing a layer's weights by `num_values`: about how much the loss rises, in nats, and how many bits the indices
    and the codebook take.
    """

    num_values: int
    loss: float
    bits: float


def options_of(network: nn.Module, fisher: dict[str, Tensor]) -> dict[str, list[Option]]:
    """What each number of values would cost each layer."""
    options = {}
    for name, layer in weighted_layers(network).items():
        weight = weight_of(layer).detach()
        values = weight[weight != 0]
        importance = float(fisher[name][weight != 0].mean()) if len(values) else 0.0
        options[name] = [_option(values, importance, count) for count in CHOICES] if len(values) else [Option(1, 0, 0)]
    return options


def allocate(options: dict[str, list[Option]], price: float) -> dict[str, int]:
    """For each layer the number of values with the least loss + price * bits, `price` in nats a bit."""
    return {
        name: min(each, key=lambda option: option.loss + price * option.bits).num_values
        for name, each in options.items()
    }


def price_for(
    is_small: Callable[[float], bool], *, low: float = 1e-12, high: float = 1e-2, num_steps: int = 24
) -> float:
    """The lowest price, to some percent, at which `is_small(price)`, found by halving on a logarithmic scale; `high`
    where none is.
    """
    for _ in range(num_steps):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if is_small(middle) else (middle, high)
    return high


def loss_of(options: dict[str, list[Option]], values: dict[str, int]) -> float:
    """About how much the loss rises altogether, in nats."""
    return sum(option.loss for name, each in options.items() for option in each if option.num_values == values[name])


def _option(values: Tensor, importance: float, count: int) -> Option:
    centroids, indices = k_means(values, count)
    error = float((values - centroids[indices]).double().square().sum())
    bits = entropy_bits(torch.bincount(indices).numpy()) + 24 * len(centroids)
    return Option(count, importance * error / 2, bits)
