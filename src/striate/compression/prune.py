"""Magnitude pruning: the smallest weights become zero and stay it (Han, Pool, Tran & Dally 2015, arXiv:1506.02626).

Three ways to share a number of zeros out over the layers: `layer` prunes each by the same fraction; `global` compares
magnitudes over all layers; `lamp` compares the squares of weights, each divided by the sum of those in its layer that
are no smaller (Lee et al. 2021, arXiv:2010.07611), which neither empties a layer nor spares a large one.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from striate.compression.weights_of import weight_of, weighted_layers
from striate.errors import InputError

Scope = Literal["layer", "global", "lamp"]


def prune(network: nn.Module, sparsity: float, *, scope: Scope = "lamp") -> None:
    """Set the least important weights of convolutions and dense layers to 0, in place, until `sparsity` of them are.

    Weights that are 0 already count. Biases and norms stay. InputError unless 0 <= sparsity < 1 and the scope is known.
    """
    if not 0 <= sparsity < 1:
        raise InputError(f"the fraction of weights to prune must lie in [0, 1) but is {sparsity:g}")
    if scope not in get_args(Scope):
        raise InputError(f"the scope of pruning must be one of {', '.join(get_args(Scope))} but is {scope!r}")
    weights = [weight_of(layer).detach() for layer in weighted_layers(network).values()]
    if scope == "layer":
        for weight in weights:
            prune_weight(weight, sparsity)
        return
    scores = [lamp_scores(weight) if scope == "lamp" else weight.abs() for weight in weights]
    kept = keep_largest(torch.cat([each.reshape(-1) for each in scores]), sparsity)
    with torch.no_grad():
        for weight, mask in zip(weights, kept.split([weight.numel() for weight in weights]), strict=True):
            weight.masked_fill_(~mask.reshape(weight.shape), 0.0)


def prune_weight(weight: Tensor, sparsity: float) -> None:
    """Set the fraction `sparsity` of a weight's smallest numbers to 0, in place."""
    with torch.no_grad():
        weight.masked_fill_(~keep_largest(weight.abs().reshape(-1), sparsity).reshape(weight.shape), 0.0)


def keep_largest(scores: Tensor, sparsity: float) -> Tensor:
    """Scores (n,) -> which to keep (n,) bool: all but the round(sparsity * n) smallest; of equal ones the later go
    first.
    """
    num_kept = scores.numel() - round(sparsity * scores.numel())
    kept = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    kept[scores.sort(descending=True, stable=True).indices[:num_kept]] = True
    return kept


def lamp_scores(weight: Tensor) -> Tensor:
    """The layer-adaptive magnitude of each weight (2021, equation 3), of the weight's shape; the largest of a layer has
    1, zeros 0.
    """
    squares = weight.detach().reshape(-1).double().square()
    order = squares.argsort(stable=True)
    no_smaller = squares[order].flip(0).cumsum(0).flip(0)  # of itself and all that come after it
    scores = torch.zeros_like(squares)
    scores[order] = torch.where(no_smaller > 0, squares[order] / no_smaller, 0.0)
    return scores.reshape(weight.shape)


def sparsity_of(network: nn.Module) -> float:
    """The fraction of zeros among the weights of convolutions and dense layers."""
    weights = [weight_of(layer) for layer in weighted_layers(network).values()]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
