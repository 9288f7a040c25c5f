"""How much each layer minds pruning, measured; and how much to prune each so that all suffer alike (Han et al. 2015,
arXiv:1506.02626, figure 6).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from striate.compression.prune import prune_weight
from striate.compression.weights_of import weight_of, weighted_layers

SPARSITIES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class Curve:
    """The loss (nats) of the whole network with one layer pruned to each of `sparsities`, ascending from 0, nothing
    retrained.
    """

    num_weights: int
    sparsities: tuple[float, ...]
    losses: tuple[float, ...]

    def sparsity_within(self, rise: float) -> float:
        """The most that the layer can be pruned while the loss rises by no more than `rise`, between measured points in
        a line.
        """
        found = 0.0
        points = list(zip(self.sparsities, self.losses, strict=True))
        for (low, low_loss), (high, high_loss) in pairwise(points):
            limit = self.losses[0] + rise
            if high_loss <= limit:
                found = high
            else:
                if low_loss < limit:
                    found = low + (high - low) * (limit - low_loss) / (high_loss - low_loss)
                break
        return found


def sensitivity_curves(network: nn.Module, loss_of: Callable[[nn.Module], float]) -> dict[str, Curve]:
    """The curve of each layer; `loss_of(network)` measures. The network comes back as it was, also after an error."""
    whole = loss_of(network)
    curves = {}
    for name, layer in weighted_layers(network).items():
        weight = weight_of(layer).detach()
        before = weight.clone()
        losses = [whole]
        try:
            for sparsity in SPARSITIES:
                weight.copy_(before)
                prune_weight(weight, sparsity)
                losses.append(loss_of(network))
        finally:
            with torch.no_grad():
                weight.copy_(before)
        curves[name] = Curve(weight.numel(), (0.0, *SPARSITIES), tuple(losses))
    return curves


def equal_rise(curves: dict[str, Curve], sparsity: float) -> dict[str, float]:
    """How much to prune each layer so that `sparsity` of all weights go and every layer alone raises the loss by the
    same.
    """
    total = sum(curve.num_weights for curve in curves.values())

    def chosen(rise: float) -> dict[str, float]:
        return {name: curve.sparsity_within(rise) for name, curve in curves.items()}

    low, high = 0.0, 1e-6
    while sum(curves[name].num_weights * each for name, each in chosen(high).items()) < sparsity * total and high < 1e6:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        pruned = sum(curves[name].num_weights * each for name, each in chosen(middle).items())
        low, high = (low, middle) if pruned >= sparsity * total else (middle, high)
    return chosen(high)
