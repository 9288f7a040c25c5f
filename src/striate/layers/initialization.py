"""Initial weights: how networks draw them, and what each scheme does to the spread of activations and gradients.

Weights are drawn from a normal distribution around 0; the schemes differ in its deviation only. D inputs of a layer
are its fan in, D' outputs its fan out. torch.nn.init draws them; here is what they are for.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SMALL = 0.01
HEAD_STD = 0.01
"""Standard deviation of a last layer's weights: training starts from even odds."""

Scheme = Callable[[int, int], float]
"""Takes fan in and fan out, gives the standard deviation of the weights."""


@dataclass(frozen=True)
class LayerSpread:
    """One layer of a network that has just been initialised: its activations over all images and units.

    `gradient_std` is the deviation of the loss's gradient by these activations, where by the last layer's it is 1.
    """

    layer: int
    mean: float
    std: float
    gradient_std: float


def small_random(_fan_in: int, _fan_out: int) -> float:
    """Always 0.01: enough for a few layers, and the end of the signal in many."""
    return SMALL


def xavier(fan_in: int, fan_out: int) -> float:
    """sqrt(2 / (fan_in + fan_out)): keeps the spread where activations are linear, forwards and backwards alike
    (Glorot & Bengio 2010, equation 12).
    """
    return math.sqrt(2 / (fan_in + fan_out))


def he(fan_in: int, _fan_out: int) -> float:
    """sqrt(2 / fan_in): makes up for the half that ReLU takes away (He, Zhang, Ren & Sun 2015, arXiv:1502.01852)."""
    return math.sqrt(2 / fan_in)


def activation_spread(
    scheme: Scheme,
    *,
    activation: Callable[[Tensor], Tensor] = torch.tanh,
    depth: int = 10,
    width: int = 500,
    num_images: int = 1000,
    generator: torch.Generator | None = None,
) -> tuple[LayerSpread, ...]:
    """The spread in each of `depth` linear layers of `width` units, given images of normal noise with deviation 1.

    The gradient that comes in at the end is normal noise too. Draws on the CPU, in float32.
    """
    std = scheme(width, width)
    activations = [torch.randn(num_images, width, generator=generator).requires_grad_()]
    with torch.enable_grad():
        for _ in range(depth):
            weight = std * torch.randn(width, width, generator=generator)
            activations.append(activation(activations[-1] @ weight.T))
    noise = torch.randn(num_images, width, generator=generator)
    gradients = (*torch.autograd.grad(activations[-1], activations[:-1], noise), noise)
    return tuple(
        LayerSpread(layer, maps.mean().item(), maps.std().item(), gradients[layer].std().item())
        for layer, maps in enumerate(activations)
        if layer > 0
    )


def draw_he_normal(network: nn.Module, *, heads: tuple[nn.Module, ...] = ()) -> None:
    """Normal with variance 2 / fan in (He et al. 2015, arXiv:1502.01852, eq. 10), biases zero, in place.

    The layers in `heads` get small weights, so that training starts from even odds and not from confident mistakes.
    """
    for layer in _layers_to_draw(network):
        if layer in heads:
            nn.init.normal_(layer.weight, std=HEAD_STD)
        else:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def draw_for_mobile(network: nn.Module) -> None:
    """As torchvision's mobile networks: convolutions by fan out (He et al.), linear layers small, biases zero; in
    place.
    """
    for layer in _layers_to_draw(network):
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        else:
            nn.init.normal_(layer.weight, std=HEAD_STD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def draw_small_normal(network: nn.Module, *, std: float) -> None:
    """Normal with deviation `std`, whatever a layer's size, as networks were drawn before He et al.; biases zero; in
    place.
    """
    for layer in _layers_to_draw(network):
        nn.init.normal_(layer.weight, std=std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def draw_truncated_normal(network: nn.Module, std: float, *, other_stds: dict[nn.Module, float] | None = None) -> None:
    """Normal within [-2, 2], of deviation `std`, or of a layer's own in `other_stds`; biases stay; in place."""
    for layer in _layers_to_draw(network):
        nn.init.trunc_normal_(layer.weight, std=(other_stds or {}).get(layer, std), a=-2, b=2)


def _layers_to_draw(network: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
            yield module
