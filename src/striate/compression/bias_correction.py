"""Biases that make up for changed weights: every channel keeps its mean (Nagel, van Baalen, Blankevoort & Welling 2019,
arXiv:1906.04721, section 4.2).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.compression.weights_of import weight_of, weighted_layers
from striate.networks.hooks import module_hooks
from striate.networks.restore import evaluating


@contextmanager
def correcting_biases(network: nn.Module, images: Tensor | None, *, batch_size: int = 16) -> Iterator[None]:
    """Afterwards, the bias of each layer whose weight changed meanwhile is such that the mean of each of its channels
    is as before.

    Means are over preprocessed `images` (N, C, H, W), and over places, of what the layer was given before; None
    corrects nothing. Layers without a bias, and convolutions that transpose, stay as they are.
    """
    layers = {name: each for name, each in weighted_layers(network).items() if _can_correct(each)}
    if images is None or not layers:
        yield
        return
    inputs = mean_inputs(network, layers, images, batch_size=batch_size)
    before = {name: weight_of(layer).detach().clone() for name, layer in layers.items()}
    yield
    with torch.no_grad():
        for name, layer in layers.items():
            change = weight_of(layer) - before[name]
            if name in inputs and bool((change != 0).any()):
                shift = _apply(layer, change, inputs[name][None])  # (1, K) or (1, K, ...)
                layer.bias -= shift.mean(dim=(0, *range(2, shift.ndim)))  # type: ignore[operator]


@torch.no_grad()
def mean_inputs(
    network: nn.Module, layers: dict[str, nn.Module], images: Tensor, *, batch_size: int
) -> dict[str, Tensor]:
    """The mean over images of what each layer is given, (C, H, W) or (D,); of a dense layer over several rows, the mean
    row.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def add(name: str, args: Any) -> None:
        if name in layers:
            given = args[0].detach().double()
            if isinstance(layers[name], nn.Linear):
                given = given.reshape(-1, given.shape[-1])
            sums[name] = sums.get(name, 0) + given.sum(0)
            counts[name] = counts.get(name, 0) + len(given)

    with evaluating(network), module_hooks(network, add, lambda *_: None):
        for batch in images.split(batch_size):
            network(batch)
    return {name: (total / counts[name]).float() for name, total in sums.items()}


def _can_correct(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None


def _apply(layer: nn.Module, weight: Tensor, given: Tensor) -> Tensor:
    """What the layer would give with this weight and no bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(given, weight)
    assert isinstance(layer, nn.Conv2d)
    return layer._conv_forward(given, weight, None)
