"""Layers in factors: a dense layer as two by its singular values, a convolution as three by Tucker-2.

Dense: W = U S V keeps the R largest singular values. Convolution: the filters (out, in, height, width) are projected on
the leading singular vectors of their unfoldings along the two channel axes: a 1x1 convolution to R_in channels, one of
the old size from R_in to R_out, a 1x1 convolution back (Kim et al. 2016, arXiv:1511.06530, section 3.1).
"""

import torch
from torch import Tensor, nn

from striate.compression.weights_of import weight_of, weighted_layers
from striate.errors import InputError
from striate.weights.structure import Structure, factored, replace_layer


@torch.no_grad()
def factor_layers(network: nn.Module, energy: float) -> Structure:
    """Replace layers by factors that keep the fraction `energy` of the squares along each axis, in place, wherever that
    takes fewer weights.

    What is changed comes back as a structure. Grouped convolutions stay. InputError unless 0 < energy <= 1.
    """
    if not 0 < energy <= 1:
        raise InputError(f"the energy that factors keep must lie in (0, 1] but is {energy:g}")
    structure: Structure = {}
    for name, layer in weighted_layers(network).items():
        if isinstance(layer, nn.Linear):
            found = factor_dense(layer, energy)
        elif isinstance(layer, nn.Conv2d) and layer.groups == 1:
            found = factor_convolution(layer, energy)
        else:
            continue
        if sum(p.numel() for p in found.parameters()) < sum(p.numel() for p in layer.parameters()):
            replace_layer(network, name, found)
            structure[name] = {"ranks": _ranks(found)}
    return structure


@torch.no_grad()
def factor_dense(layer: nn.Linear, energy: float) -> nn.Sequential:
    """Two dense layers without and with the bias: the best of their rank in squares (Eckart & Young 1936)."""
    left, values, right = torch.linalg.svd(layer.weight.detach().double(), full_matrices=False)
    rank = rank_for(values, energy)
    found = factored(layer, [rank], "a dense layer")
    root = values[:rank].sqrt()
    found[0].weight.copy_(root[:, None] * right[:rank])  # type: ignore[operator]
    found[1].weight.copy_(left[:, :rank] * root)  # type: ignore[operator]
    return _with_bias(found, layer)


@torch.no_grad()
def factor_convolution(layer: nn.Conv2d, energy: float) -> nn.Sequential:
    """1x1 to R_in channels, the old size to R_out, 1x1 back."""
    weight = weight_of(layer).detach().double()
    outer, inner = (leading_vectors(weight, axis, energy) for axis in (0, 1))  # (O, R_out), (I, R_in)
    core = torch.einsum("oihw,or,is->rshw", weight, outer, inner)
    found = factored(layer, [inner.shape[1], outer.shape[1]], "a convolution")
    found[0].weight.copy_(inner.T[:, :, None, None])  # type: ignore[operator]
    found[1].weight.copy_(core)  # type: ignore[operator]
    found[2].weight.copy_(outer[:, :, None, None])  # type: ignore[operator]
    return _with_bias(found, layer)


def leading_vectors(weight: Tensor, axis: int, energy: float) -> Tensor:
    """The singular vectors (n, R) of a tensor's unfolding along an axis of size n that keep the fraction `energy` of
    its squares.
    """
    unfolded = weight.movedim(axis, 0).flatten(1)
    vectors, values, _ = torch.linalg.svd(unfolded, full_matrices=False)
    return vectors[:, : rank_for(values, energy)]


def rank_for(values: Tensor, energy: float) -> int:
    """How many of the singular values, descending, hold the fraction `energy` of the sum of their squares; at least
    1.
    """
    sums = values.double().square().cumsum(0)
    return max(1, min(len(values), int((sums < (energy - 1e-12) * sums[-1]).sum()) + 1))


def _with_bias(found: nn.Sequential, layer: nn.Linear | nn.Conv2d) -> nn.Sequential:
    if layer.bias is not None:
        found[-1].bias.copy_(layer.bias)  # type: ignore[operator]
    return found.train(layer.training)


def _ranks(found: nn.Sequential) -> list[int]:
    if isinstance(found[0], nn.Linear):
        return [found[0].out_features]
    return [found[0].out_channels, found[1].out_channels]  # type: ignore[list-item]
