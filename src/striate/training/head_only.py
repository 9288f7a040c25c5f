"""A network of which only the head runs: its input is what the frozen base gives, computed once.

n images of a batch, C channels, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from striate.networks.modes import evaluating
from striate.training.groups import hold_norms, restored_modes


class _Reached(Exception):
    """The forward pass has come to the head."""

    def __init__(self, features: Tensor) -> None:
        self.features = features


class HeadOnly(nn.Module):
    """Runs the modules named `tail` of `network`, one after the other: features -> logits (n, K).

    Weights and names are the network's own, with "network." before them, so that a checkpoint holds the whole network.
    """

    def __init__(self, network: nn.Module, tail: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.tail = tuple(tail)

    def forward(self, features: Tensor) -> Tensor:
        """What the base gives, (n, ...) -> logits (n, K)."""
        for name in self.tail:
            features = self.network.get_submodule(name)(features)
        return features.flatten(1)

    def features(self, images: Tensor) -> Tensor:
        """What reaches the first module of the tail in evaluation mode: images (n, C, H, W) -> features (n, ...)."""
        with evaluating(self.network):
            return _reach(self.network, self.tail[0], images)


def whole_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a `HeadOnly` as that of the network inside."""
    return {name.removeprefix("network."): value for name, value in state.items()}


@torch.no_grad()
def find_tail(network: nn.Module, head: str, images: Tensor) -> tuple[str, ...] | str:
    """The modules from the head's dropout to the answer, in the order in which they run; or why there is no such chain.

    It is tried on `images` (n, C, H, W), so that whatever stands between the modules in the code is noticed, and also
    anything before them that training would draw anew every time. The network comes back as it was.
    """
    with evaluating(network):
        calls, answer = _record(network, images)
        heads = [call for call in calls if call.name == head]
        if len(heads) != 1:
            return f"its head, {head}, runs {len(heads)} times"
        tail = _chain(heads[0], calls)
        only = HeadOnly(network, [call.name for call in tail])
        features = only.features(images)
        if not torch.equal(only(features), answer):
            return f"what follows its head, {head}, is more than a chain of layers"
    with restored_modes(network), torch.random.fork_rng(devices=[]):
        network.train()
        hold_norms(network)
        if not torch.equal(_reach(network, only.tail[0], images), features):
            return "its base is random in training, as with dropout"
    return only.tail


@dataclass(frozen=True, eq=False)
class _Call:
    """A module without children has run."""

    name: str
    module: nn.Module
    given: Any
    answer: Any


def _chain(head: _Call, calls: list[_Call]) -> list[_Call]:
    """Dropouts right before the head, the head, and the layers that only pass its answer on."""
    tail, place = [head], calls.index(head)
    while place > 0 and isinstance(calls[place - 1].module, _DropoutNd) and calls[place - 1].answer is tail[0].given:
        place -= 1
        tail.insert(0, calls[place])
    for call in calls[calls.index(head) + 1 :]:
        if call.given is tail[-1].answer:
            tail.append(call)
    return tail


def _record(network: nn.Module, images: Tensor) -> tuple[list[_Call], Tensor]:
    """Every call of a module without children, in order, and the answer; tensors are held, so that none is mistaken."""
    calls: list[_Call] = []
    handles = []
    for name, module in network.named_modules():
        if not any(module.children()):

            def note(module: nn.Module, args: tuple[Any, ...], answer: Any, name: str = name) -> None:
                calls.append(_Call(name, module, args[0] if args else None, answer))

            handles.append(module.register_forward_hook(note))
    try:
        return calls, network(images)
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _reach(network: nn.Module, name: str, images: Tensor) -> Tensor:
    """What the module called `name` is given, in the mode in which the network is; nothing behind it runs."""

    def stop(_module: nn.Module, args: tuple[Tensor, ...]) -> None:
        raise _Reached(args[0])

    handle = network.get_submodule(name).register_forward_pre_hook(stop)
    try:
        network(images)
    except _Reached as reached:
        return reached.features
    finally:
        handle.remove()
    raise RuntimeError(f"{name} did not run")
