"""The layer that is explained where none is named: the last spatial features, found by running the network once."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.explanation.batches import check_images, run
from striate.networks.hooks import module_hooks
from striate.networks.restore import frozen


@dataclass(frozen=True)
class _Call:
    """One call of a module, in the order in which they ended."""

    name: str
    output: Tensor | None
    is_pool: bool
    is_idle: bool
    has_filters: bool

    @property
    def is_map(self) -> bool:
        return self.output is not None and self.output.ndim == 4 and self.output.shape[2] * self.output.shape[3] > 1


def default_layer(network: nn.Module, images: Tensor) -> str:
    """The name of the layer with the last spatial features: `layer4` of a ResNet, `features.29` of VGG-16, `features`
    of SqueezeNet.

    It is the last one with a map (N, C, h, w) larger than 1 x 1 that ends before the head begins, which is the last
    layer with filters, or is that itself where it is the only one; pooling is passed over. Of modules that give the
    same tensor the outermost is named. Raises InputError where there is none, as in a multilayer perceptron, and for
    networks that go on with tokens, such as a ViT: there a layer has to be named.
    """
    calls = _trace(network, images)
    heads = [place for place, call in enumerate(calls) if call.has_filters]
    for before in (calls[: heads[-1]] if heads else calls, calls):
        pooled = {id(call.output) for call in before if call.is_pool}
        places = [place for place, call in enumerate(before) if call.is_map and id(call.output) not in pooled]
        if places:
            break
    if not places:
        raise InputError(f"no layer of {type(network).__name__} has a map larger than 1 x 1; use saliency")
    last = before[places[-1]]
    tokens = [
        call for call in before[places[-1] :] if call.has_filters and call.output is not None and call.output.ndim == 3
    ]
    if tokens:
        raise InputError(
            f"{type(network).__name__} goes on with tokens after {last.name}: it has no last map; name a layer whose "
            f"tokens stand for places, such as the norm before its last attention ({_suggested(network)})"
        )
    same = [call.name for call in before if call.output is last.output and not call.is_idle]
    name = min(
        reversed(same or [last.name]), key=lambda each: each.count(".")
    )  # the latest: an in-place function returns its input
    num_calls = sum(call.name == name for call in calls)
    return name if num_calls == 1 else f"{name}#{sum(call.name == name for call in before)}"


def _suggested(network: nn.Module) -> str:
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.LayerNorm)]
    attention = [name for name in norms if name.endswith(("ln_1", "norm1"))]
    return (attention or norms or ["see striate describe"])[-1]


def _trace(network: nn.Module, images: Tensor) -> list[_Call]:
    """The calls of all modules inside the network for one image, in the order in which they end."""
    calls: list[_Call] = []
    modules = dict(network.named_modules())

    def after(name: str, _args: Any, output: Any) -> None:
        module = modules[name]
        is_leaf = not any(module.children())
        weight = getattr(module, "weight", None)
        calls.append(
            _Call(
                name,
                output if isinstance(output, Tensor) else None,
                is_idle=isinstance(module, nn.Identity | nn.modules.dropout._DropoutNd),
                is_pool="pool" in type(module).__name__.lower(),
                has_filters=is_leaf and isinstance(weight, Tensor) and weight.ndim >= 2,
            )
        )

    images = check_images(network, images)[:1]
    with frozen(network), torch.no_grad(), module_hooks(network, lambda *_: None, after):
        run(network, images)
    return calls


def layers_in_order(network: nn.Module, images: Tensor) -> list[str]:
    """The names of the modules that hold parameters themselves, in the order in which they first run for such an
    image.
    """
    own = {name for name, module in network.named_modules() if any(True for _ in module.parameters(recurse=False))}
    return list(dict.fromkeys(call.name for call in _trace(network, images) if call.name in own))
