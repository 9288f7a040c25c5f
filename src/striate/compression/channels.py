"""Structured pruning: whole channels go, with everything that is tied to them, and what is left is an ordinary smaller
network.

Filters count by the sum of their magnitudes, in parts of their layer's mean, over all layers of a group (Li et al.
2016, arXiv:1608.08710; Fang et al. 2023, arXiv:2301.12900 for the groups). Every set of groups that stand in the same
layers loses the same fraction.
"""

import copy
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from striate.compression.channel_trace import PROTECTED, Channels, trace_channels
from striate.compression.weights_of import weight_of
from striate.errors import InputError
from striate.inspection.layers import describe_network
from striate.networks.restore import evaluating
from striate.weights.structure import Structure, resize


def prune_channels(network: nn.Module, kept: float, images: Tensor) -> tuple[nn.Module, Structure]:
    """A copy of the network that keeps about the fraction `kept` of its channels, at least one in each place, and its
    structure.

    `images` (1, C, H, W) go through it to find what is tied to what. The network stays as it is. InputError where
    nothing can be pruned, or where the pruned network does not run, naming the layer.
    """
    if not 0 < kept <= 1:
        raise InputError(f"the fraction of channels to keep must lie in (0, 1] but is {kept:g}")
    channels = trace_channels(network, images)
    gone = groups_to_go(network, channels, kept)
    if not gone and kept < 1:
        raise InputError(
            f"no channel of {type(network).__name__} can be pruned: each is tied to the output, or to code that wants "
            "a fixed number"
        )
    return without_groups(network, channels, gone, images)


def prune_to_macs(
    network: nn.Module, fraction: float, images: Tensor, *, num_tries: int = 7
) -> tuple[nn.Module, Structure]:
    """The same, with as many channels left as need about `fraction` of the network's multiply-adds."""
    if not 0 < fraction <= 1:
        raise InputError(f"the fraction of multiply-adds to keep must lie in (0, 1] but is {fraction:g}")
    size = tuple(images.shape[1:])
    macs = describe_network(network, size, measure_memory=False).macs  # type: ignore[arg-type]
    low, high = 0.0, 1.0
    best = prune_channels(network, 1.0, images)
    for _ in range(num_tries):
        middle = (low + high) / 2
        tried = prune_channels(network, middle, images)
        if describe_network(tried[0], size, measure_memory=False).macs <= fraction * macs:  # type: ignore[arg-type]
            low, best = middle, tried
        else:
            high = middle
    if not best[1] and fraction < 1:
        raise InputError(
            f"pruning channels cannot bring {type(network).__name__} down to {fraction:g} of its multiply-adds"
        )
    return best


def groups_to_go(network: nn.Module, channels: Channels, kept: float) -> set[int]:
    """The groups of channels to be pruned: in each set of groups that stand in the same layers the least important
    ones.
    """
    places: dict[int, set[tuple[str, str]]] = defaultdict(set)
    importance: dict[int, float] = defaultdict(float)
    for name, layer in channels.layers.items():
        module = network.get_submodule(name)
        for number in layer.inputs:
            places[channels.group_of(number)].add((name, "in"))
        for number in layer.outputs:
            places[channels.group_of(number)].add((name, "out"))
        if isinstance(module, nn.Conv2d | nn.Linear):
            norms = weight_of(module).detach().flatten(1).abs().sum(1)
            for number, norm in zip(layer.outputs, (norms / norms.mean().clamp(min=1e-12)).tolist(), strict=True):
                importance[channels.group_of(number)] += norm
    sets: dict[frozenset[tuple[str, str]], list[int]] = defaultdict(list)
    for group, where in places.items():
        if group != PROTECTED:
            sets[frozenset(where)].append(group)
    gone: set[int] = set()
    for groups in sets.values():
        num_gone = min(len(groups) - 1, round((1 - kept) * len(groups)))
        gone |= set(sorted(groups, key=lambda group: (importance[group], group))[:num_gone])
    return gone


def without_groups(
    network: nn.Module, channels: Channels, gone: set[int], images: Tensor
) -> tuple[nn.Module, Structure]:
    """A copy without these groups of channels, tried on the images, and its structure."""
    smaller = copy.deepcopy(network)
    structure: Structure = {}
    for name, layer in channels.layers.items():
        inputs = [place for place, number in enumerate(layer.inputs) if channels.group_of(number) not in gone]
        outputs = [place for place, number in enumerate(layer.outputs) if channels.group_of(number) not in gone]
        if len(inputs) < len(layer.inputs) or len(outputs) < len(layer.outputs):
            structure[name] = shrink(smaller.get_submodule(name), inputs, outputs, name)
    with evaluating(network), evaluating(smaller), torch.no_grad():
        try:
            smaller(images)
        except Exception as error:  # whatever the network's own code makes of other widths
            raise InputError(
                f"{type(network).__name__} does not run with fewer channels, since its code wants fixed numbers of "
                f"them: {' '.join(str(error).split())[:160]}"
            ) from None
    return smaller, structure


@torch.no_grad()
def shrink(layer: nn.Module, inputs: list[int], outputs: list[int], name: str) -> dict[str, Any]:
    """Leave a layer these of its channels, in place: what its structure says of it from then on."""
    if isinstance(layer, nn.Conv2d):
        weight = weight_of(layer).detach()
        is_depthwise = layer.groups > 1 and weight.shape[1] == 1
        groups = len(inputs) if is_depthwise else layer.groups
        columns = [0] if is_depthwise else [place for place in inputs if place < weight.shape[1]]
        kept = weight[outputs][:, columns].clone()
        bias = None if layer.bias is None else layer.bias.detach()[outputs].clone()
        widths = {"in_channels": len(inputs), "out_channels": len(outputs), "groups": groups}
    elif isinstance(layer, nn.Linear):
        kept = weight_of(layer).detach()[outputs][:, inputs].clone()
        bias = None if layer.bias is None else layer.bias.detach()[outputs].clone()
        widths = {"in_features": len(inputs), "out_features": len(outputs)}
    else:
        values = {
            key: getattr(layer, key).detach()[outputs].clone()
            for key in ("weight", "bias", "running_mean", "running_var")
            if getattr(layer, key, None) is not None
        }
        widths = {"num_features": len(outputs)}
        resize(layer, widths, name)
        for key, value in values.items():
            getattr(layer, key).copy_(value)
        return widths
    resize(layer, widths, name)
    weight_of(layer).copy_(kept)
    if bias is not None:
        layer.bias.copy_(bias)  # type: ignore[union-attr]
    return widths
