"""A network of which only the last part runs: its input is what the frozen layers before it give, computed once.

n images of a batch, C channels, K classes.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from striate.networks.auxiliary import WithAuxiliary
from striate.networks.hooks import input_of, module_hooks
from striate.networks.restore import evaluating
from striate.training.frozen.layer_groups import LayerGroup, hold_norms, restored_modes


class TrainableTail(nn.Module):
    """Runs the modules named `tail` of `network`, one after the other: features -> logits (n, K). Those that are also
    in `flattened` are given one row an image, as the network's own code does it.

    Weights and names are the network's own, with "network." before them, so that a checkpoint holds the whole network.
    """

    def __init__(self, network: nn.Module, tail: Sequence[str], flattened: Sequence[str] = ()) -> None:
        super().__init__()
        self.network = network
        self.tail = tuple(tail)
        self.flattened = frozenset(flattened)

    def forward(self, features: Tensor) -> Tensor:
        """Frozen features (n, ...) -> logits (n, K)."""
        for name in self.tail:
            given = features.flatten(1) if name in self.flattened else features
            features = self.network.get_submodule(name)(given)
        return features.flatten(1)

    def features(self, images: Tensor) -> Tensor:
        """Compute the input of the tail's first module in evaluation mode: images (n, C, H, W) -> features (n, ...)."""
        with evaluating(self.network), torch.no_grad():
            features: Tensor = input_of(self.network, images, self.tail[0])
        return features


def whole_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a `TrainedPart` as that of the network inside."""
    return {name.removeprefix("network."): value for name, value in state.items()}


@torch.no_grad()
def find_trainable_tail(network: nn.Module, groups: Sequence[LayerGroup], images: Tensor) -> TrainableTail | str:
    """The network from the first module of `groups`, its last ones, on; or why it cannot run from there alone.

    It is tried on `images` (n, C, H, W), so that whatever stands between the modules in the code is noticed, and also
    anything before them that training would draw anew every time. The network comes back as it was.
    """
    names = {module: name for name, module in network.named_modules()}
    start = next((names[module] for group in groups for module in group.modules), None)
    if start is None:
        return "what is trained is no layer of its own"
    with evaluating(network):
        calls, answer = _record(network, images)
        starts = [call for call in calls if call.name == start]
        if len(starts) != 1:
            return f"what is trained, from {start} on, runs {len(starts)} times"
        if not isinstance(starts[0].given, Tensor):
            return f"what is trained, from {start} on, is given more than one map"
        part = _chain(network, starts[0], calls)
        features = part.features(images)
        if not torch.equal(part(features.clone()), answer):  # a layer may work in place
            return f"what is trained, from {start} on, is more than a chain of layers"
    held = {param for name in part.tail for param in network.get_submodule(name).parameters()}
    if any(param not in held for group in groups for param in group.params):
        return f"some of what is trained lies beside the chain from {start} on"
    with restored_modes(network), torch.random.fork_rng(devices=[]):
        network.train()
        hold_norms(network)
        if not torch.equal(input_of(network, images, part.tail[0]), features):
            return "its frozen layers are random in training, as with dropout"
        if not _trains_alike(network, part, images, features):
            return f"what is trained, from {start} on, is more than a chain of layers in training"
    return part


def _trains_alike(network: nn.Module, part: TrainableTail, images: Tensor, features: Tensor) -> bool:
    """Whether a network in training mode answers as its part does, so that no dropout stands in the code between
    modules. Modules of dropout are off, since those of other heads would draw too.
    """
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
    torch.manual_seed(0)
    outputs = network(images)
    whole = outputs.logits if isinstance(outputs, WithAuxiliary) else outputs
    torch.manual_seed(0)
    return torch.equal(part(features.clone()), whole)


@dataclass(frozen=True, eq=False)
class _Call:
    """A module has run. It began as the `began`-th event of the pass and ended as the `ended`-th."""

    name: str
    module: nn.Module
    given: Any
    answer: Any
    began: int
    ended: int


def _chain(network: nn.Module, start: _Call, calls: list[_Call]) -> TrainableTail:
    """Dropouts right before `start`, then it, and of the largest modules after it those that pass its answer on."""
    first, tail, flattened = start, [start], []
    leaves = [call for call in calls if not any(call.module.children())]
    for call in reversed([leaf for leaf in leaves if leaf.ended < start.began]):
        if not isinstance(call.module, _DropoutNd) or call.answer is not first.given:
            break
        first = call
        tail.insert(0, call)
    last = start.ended
    for call in calls:
        if call.began > last:
            last = call.ended
            is_flattened = _is_flat(call.given, tail[-1].answer)
            if is_flattened or call.given is tail[-1].answer:
                flattened += [call.name] * is_flattened
                tail.append(call)
    return TrainableTail(network, [call.name for call in tail], flattened)


def _is_flat(given: Any, answer: Any) -> bool:
    """Whether a module was given the answer of another one with all but the first extent made one."""
    if not isinstance(given, Tensor) or not isinstance(answer, Tensor) or answer.ndim < 3:
        return False
    return given.ndim == 2 and torch.equal(given, answer.flatten(1))


def _record(network: nn.Module, images: Tensor) -> tuple[list[_Call], Tensor]:
    """Every call of a module inside, as they began, and the output; tensors are held, so that none is mistaken."""
    calls: list[_Call] = []
    open_calls: list[tuple[int, Any]] = []
    modules = dict(network.named_modules())
    events = itertools.count()

    def begin(_name: str, args: tuple[Any, ...]) -> None:
        open_calls.append((next(events), args[0] if len(args) == 1 else args))

    def end(name: str, _args: tuple[Any, ...], output: Any) -> None:
        began, given = open_calls.pop()
        calls.append(_Call(name, modules[name], given, output, began, next(events)))

    with module_hooks(network, begin, end):
        output = network(images)
    return sorted(calls, key=lambda call: call.began), output
