"""How a network differs from the one that its name and settings build: layers with fewer channels, and layers in
factors.

A structure is a plain dictionary: the name of a layer -> what is different. Widths: {"in_channels", "out_channels",
"groups"} of a convolution, {"in_features", "out_features"} of a dense layer, {"num_features"} of a batch norm. Factors:
{"ranks": [R]} makes a dense layer two, {"ranks": [R_in, R_out]} a convolution three (compression/low_rank.py). Numbers
are never larger than those they replace, so no structure makes a network larger.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from striate.errors import ModelFileError

Structure = dict[str, dict[str, Any]]
_WIDTHS: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (nn.Conv2d, ("in_channels", "out_channels", "groups")),
    (nn.Linear, ("in_features", "out_features")),
    (_BatchNorm, ("num_features",)),
)


def restructure(network: nn.Module, structure: Mapping[str, Any]) -> None:
    """Change a fresh network in place as the structure says; weights of changed layers are new. ModelFileError where it
    does not fit.
    """
    for name, change in structure.items():
        layer = dict(network.named_modules()).get(name)  # anew each time: a factored layer holds others
        if layer is None or not name or not isinstance(change, dict):
            raise ModelFileError(f"its structure names the layer {name!r}, which the network lacks")
        widths = {key: value for key, value in change.items() if key != "ranks"}
        if widths:
            resize(layer, widths, name)
        if "ranks" in change:
            replace_layer(network, name, factored(layer, change["ranks"], name))


def resize(layer: nn.Module, widths: Mapping[str, Any], name: str) -> None:
    """Give a layer smaller widths, in place, with empty weights of the new shapes."""
    allowed = next((names for kind, names in _WIDTHS if isinstance(layer, kind)), ())
    for key, value in widths.items():
        if key not in allowed:
            raise ModelFileError(f"the structure of {name} has {key!r}, which its kind of layer lacks")
        if type(value) is not int or not 1 <= value <= getattr(layer, key):
            raise ModelFileError(
                f"the structure of {name} has {key} {value!r}, not a number from 1 to {getattr(layer, key)}"
            )
    for key, value in widths.items():
        setattr(layer, key, value)
    if isinstance(layer, nn.Conv2d):
        if layer.in_channels % layer.groups or layer.out_channels % layer.groups:
            raise ModelFileError(f"the channels of {name} do not divide by its {layer.groups} groups")
        shape: tuple[int, ...] = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        _set(layer, "weight", shape)
        _set(layer, "bias", shape[:1])
    elif isinstance(layer, nn.Linear):
        _set(layer, "weight", (layer.out_features, layer.in_features))
        _set(layer, "bias", (layer.out_features,))
    else:
        for key in ("weight", "bias", "running_mean", "running_var"):
            _set(layer, key, (layer.num_features,))  # type: ignore[arg-type]


def factored(layer: nn.Module, ranks: Any, name: str) -> nn.Sequential:
    """Layers with the shapes of a factored one, weights new. ModelFileError where the ranks do not fit."""
    limits: tuple[int, ...] = ()
    if isinstance(layer, nn.Linear):
        limits = (min(layer.in_features, layer.out_features),)
    elif isinstance(layer, nn.Conv2d) and layer.groups == 1:
        limits = (layer.in_channels, layer.out_channels)
    is_whole = isinstance(ranks, list) and all(type(rank) is int for rank in ranks)
    if (
        not is_whole
        or len(ranks) != len(limits)
        or not all(1 <= r <= most for r, most in zip(ranks, limits, strict=True))
    ):
        raise ModelFileError(f"the ranks of {name} are {ranks!r}, which do not fit its {limits}")
    place: dict[str, Any] = {"device": next(layer.parameters()).device, "dtype": next(layer.parameters()).dtype}
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Sequential(
            nn.Linear(layer.in_features, ranks[0], bias=False, **place),
            nn.Linear(ranks[0], layer.out_features, bias=has_bias, **place),
        )
    assert isinstance(layer, nn.Conv2d)
    middle = nn.Conv2d(
        ranks[0],
        ranks[1],
        layer.kernel_size,  # type: ignore[arg-type]
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        bias=False,
        padding_mode=layer.padding_mode,
        **place,
    )
    first = nn.Conv2d(layer.in_channels, ranks[0], 1, bias=False, **place)
    return nn.Sequential(first, middle, nn.Conv2d(ranks[1], layer.out_channels, 1, bias=has_bias, **place))


def replace_layer(network: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer in the place of the one called `name`."""
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, layer)


def _set(layer: nn.Module, key: str, shape: tuple[int, ...]) -> None:
    """A parameter or buffer of a new shape, empty, where the layer has one."""
    old = getattr(layer, key, None)
    if old is None or tuple(old.shape) == shape:
        return
    new = torch.zeros(shape, dtype=old.dtype, device=old.device)
    if isinstance(old, nn.Parameter):
        setattr(layer, key, nn.Parameter(new, requires_grad=old.requires_grad))
    else:
        setattr(layer, key, new)
