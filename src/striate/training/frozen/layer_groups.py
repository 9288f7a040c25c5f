"""Layer groups from stem to head, for smaller rates in earlier layers, for a frozen base and for gradual unfreezing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from striate.errors import InputError

NUM_BASE_GROUPS = 3
"""Into how many parts the layers before the head are cut. Lectures and fastai use two or three."""


@dataclass(frozen=True)
class LayerGroup:
    """Neighbouring layers. `name` says from which to which; `params` are those that may be trained, each in one group
    only.
    """

    name: str
    modules: tuple[nn.Module, ...]
    params: tuple[nn.Parameter, ...]


@dataclass(frozen=True)
class _Unit:
    """A part of the network that is not cut: a layer, a block, or the parameters that a container holds itself."""

    name: str
    modules: tuple[nn.Module, ...]
    params: tuple[nn.Parameter, ...]


def layer_groups(network: nn.Module, *, head: str | None = None) -> tuple[LayerGroup, ...]:
    """The network's groups in the order of its children: up to three of the base, then the head.

    Works on any module whose children stand in the order in which they run. `head` is a name as in `named_modules`;
    without it, the head is the last layer. What comes after the head belongs to it. Blocks are not cut, and a norm
    goes with the layer before it. Parameters that do not require gradients are left out. InputError when nothing can
    be trained or there is no such head.
    """
    units = _units(network, head)
    base, last = units[:-1], units[-1:]
    if head is not None:
        names = [unit.name for unit in units]
        base, last = units[: names.index(head)], units[names.index(head) :]
    parts = np.array_split(np.arange(len(base)), min(NUM_BASE_GROUPS, len(base))) if base else []
    seen: set[int] = set()
    groups = [_group([base[index] for index in part], seen) for part in parts] + [_group(last, seen)]
    if not any(group.params for group in groups):
        raise InputError(
            "the network has no parameter that requires a gradient; set requires_grad on those to be trained"
        )
    return tuple(groups)


def num_open_groups(freeze: str, epoch: int, num_epochs: int, num_groups: int) -> int:
    """Number of layer groups, counted from the head, trained in `epoch` (from 0).

    "lower" trains the head and the last group of the base. "gradual" opens one more at a time, evenly over the first
    half of the run, so that all are open in the second.
    """
    if freeze == "nothing":
        return num_groups
    if freeze == "base":
        return 1
    if freeze == "lower":
        return min(2, num_groups)
    half = max(1, num_epochs // 2)
    return min(num_groups, 1 + epoch * (num_groups - 1) // half)


def open_groups(network: nn.Module, groups: tuple[LayerGroup, ...], num_open: int) -> None:
    """Put the network in training mode with the last `num_open` groups trained and the others frozen.

    Frozen means no gradients, and batch norms that neither use nor change the batch's own statistics.
    """
    network.train()
    first_open = len(groups) - num_open
    for number, group in enumerate(groups):
        for param in group.params:
            param.requires_grad_(number >= first_open)
        if number < first_open:
            for module in group.modules:
                hold_norms(module)


@contextmanager
def restored_modes(network: nn.Module) -> Iterator[None]:
    """Every module's mode and every parameter's `requires_grad` are afterwards as they were before, also after an
    error.
    """
    modes = {module: module.training for module in network.modules()}
    needs = [(param, param.requires_grad) for param in network.parameters()]
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for param, need in needs:
            param.requires_grad_(need)


def hold_norms(module: nn.Module) -> None:
    """Batch norms in evaluation mode: they neither use nor change a batch's own statistics."""
    for part in module.modules():
        if isinstance(part, _NormBase):
            part.eval()


def _units(network: nn.Module, head: str | None) -> list[_Unit]:
    """The network cut finely enough: lists of layers opened, the head on its own, and more units than groups where it
    can be.
    """
    if head is not None and not any(True for _ in dict(network.named_modules()).get(head, nn.Identity()).parameters()):
        raise InputError(
            f"the network has no layer with weights called {head!r} to be its head; see its named_modules()"
        )
    units = [_unit("", network)]
    while (place := _next_to_open(units, head)) is not None:
        units[place : place + 1] = _opened(units[place])
    return _with_norms_joined(units, head)


def _unit(name: str, module: nn.Module) -> _Unit:
    return _Unit(name, (module,), tuple(module.parameters()))


def _next_to_open(units: list[_Unit], head: str | None) -> int | None:
    """Which unit to open next, or None: first what holds the head or merely lists layers, then the largest while
    there are few.
    """
    can_open = [place for place, unit in enumerate(units) if unit.name != head and _has_layers_inside(unit)]
    for place in can_open:
        holds_head = head is not None and head.startswith(_prefix(units[place].name))
        if holds_head or isinstance(units[place].modules[0], nn.Sequential | nn.ModuleList):
            return place
    if len(units) > NUM_BASE_GROUPS or not can_open:
        return None
    return max(can_open, key=lambda place: sum(param.numel() for param in units[place].params))


def _has_layers_inside(unit: _Unit) -> bool:
    return any(any(True for _ in child.parameters()) for module in unit.modules for child in module.children())


def _opened(unit: _Unit) -> list[_Unit]:
    """The unit's own parameters, if any, and its children that have parameters."""
    (module,) = unit.modules
    own = tuple(module.parameters(recurse=False))
    parts = [_Unit(unit.name, (), own)] if own else []
    children = [_unit(_prefix(unit.name) + name, child) for name, child in module.named_children()]
    return parts + [child for child in children if child.params]


def _with_norms_joined(units: list[_Unit], head: str | None) -> list[_Unit]:
    """Units without any weight matrix, such as batch norms, become part of the unit before them."""
    joined: list[_Unit] = []
    for unit in units:
        if joined and unit.name != head and all(param.ndim <= 1 for param in unit.params):
            last = joined[-1]
            joined[-1] = _Unit(last.name, last.modules + unit.modules, last.params + unit.params)
        else:
            joined.append(unit)
    return joined


def _group(units: list[_Unit], seen: set[int]) -> LayerGroup:
    params = []
    for param in (param for unit in units for param in unit.params):
        if id(param) not in seen and param.requires_grad:
            params.append(param)
        seen.add(id(param))
    first, last = units[0].name, units[-1].name
    name = first if first == last else f"{first} to {last}"
    return LayerGroup(name, tuple(module for unit in units for module in unit.modules), tuple(params))


def _prefix(name: str) -> str:
    return f"{name}." if name else ""
