"""The feature maps of any network of the catalogue, one for each stride, and what is left of the network without its
head.

N images, C channels. A stride is the number of image pixels from one place of a map to the next, a power of two.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.entry import Entry
from striate.networks.hooks import module_hooks, outputs_until
from striate.networks.restore import evaluating

_PROBED_PX = 256
_LEAST_MAP = 4
"""Smaller maps of a probe are those of pooled features, not of places."""


_NO_TAPS = (nn.modules.dropout._DropoutNd, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
"""They drop features, or give as many places whatever the image's size."""


@dataclass(frozen=True)
class Tap:
    """A module whose output is the last map of this stride, and that map's channels."""

    name: str
    channels: int
    stride: int


def backbone_of(entry: Entry, in_channels: int, strides: Iterable[int]) -> tuple[nn.Module, tuple[Tap, ...]]:
    """A fresh network of this entry without what only its head needs, and the taps of those `strides` that it has, the
    finest first.

    `maps_of` gives its maps; it no longer gives logits. InputError where it has none of the strides, or takes images of
    one size only.
    """
    if entry.is_fixed_size:
        raise InputError(f"{entry.name} takes images of one size only, so that nothing can be built on its maps")
    base = entry.build(dataclasses.replace(entry.config, in_channels=in_channels))
    found, called = _probe(entry, base, in_channels)
    taps = tuple(found[stride] for stride in sorted(strides) if stride in found)
    if not taps:
        raise InputError(f"{entry.name} has no feature map with a stride of {', '.join(map(str, sorted(strides)))}")
    last = max(called.index(tap.name) for tap in taps)
    _drop_unused(base, called[: last + 1])
    return base, taps


def maps_of(base: nn.Module, images: Tensor, taps: tuple[Tap, ...]) -> list[Tensor]:
    """Images (N, C, H, W) -> the map (N, C', h, w) at each tap, differentiable."""
    return outputs_until(base, images, [tap.name for tap in taps])


def _probe(entry: Entry, base: nn.Module, in_channels: int) -> tuple[dict[int, Tap], list[str]]:
    """The last map of each stride before the head, and the modules that ran before it, in the order in which they
    ended.

    What lies inside a block that goes from one stride to the next belongs to the next already.
    """
    maps: list[Tap] = []
    given: dict[str, int] = {}
    left: dict[str, int] = {}
    called: list[str] = []
    has_reached_head = False

    def before(name: str, args: Any) -> None:
        nonlocal has_reached_head
        has_reached_head |= name == entry.head
        if args and isinstance(args[0], Tensor) and args[0].ndim == 4:
            given[name] = stride_of(args[0])

    def after(name: str, _args: Any, output: Any) -> None:
        if has_reached_head:
            return
        called.append(name)
        if not isinstance(output, Tensor) or output.ndim != 4:
            return
        left[name] = stride_of(output)
        if min(output.shape[2:]) >= _LEAST_MAP and not isinstance(base.get_submodule(name), _NO_TAPS):
            maps.append(Tap(name, output.shape[1], left[name]))

    def stride_of(each: Tensor) -> int:
        return int(2 ** round(math.log2(size / each.shape[3])))

    def is_inside_a_step(tap: Tap) -> bool:
        above = (tap.name.rsplit(".", depth)[0] for depth in range(1, tap.name.count(".") + 1))
        return any(given.get(name) == tap.stride and left.get(name) == 2 * tap.stride for name in above)

    size = max(_PROBED_PX, *entry.min_size)
    param = next(base.parameters())
    images = torch.zeros(1, in_channels, size, size, device=param.device, dtype=param.dtype)
    with evaluating(base), torch.no_grad(), module_hooks(base, before, after):
        base(images)
    return {tap.stride: tap for tap in maps if not is_inside_a_step(tap)}, called


def _drop_unused(base: nn.Module, called: list[str]) -> None:
    """Put an identity in the place of every module with weights inside that has not run, and that holds none that
    has.
    """
    needed = {name.rsplit(".", depth)[0] for name in called for depth in range(name.count(".") + 1)}
    for name, _ in list(base.named_modules()):
        parent = name.rpartition(".")[0]
        if name and name not in needed and (not parent or parent in needed):
            setattr(base.get_submodule(parent), name.rpartition(".")[2], nn.Identity())
