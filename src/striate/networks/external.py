"""Other people's networks by name, `timm:NAME` and `torchvision:NAME`, as entries like those of the catalogue.

K classes. What an entry says is found by building the network without memory (torch's meta device) and sending an
image through. Nothing is downloaded by that: weights are fetched only when they are asked for by name, as for the
catalogue's networks, and no library is ever asked for a pretrained one.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from striate.errors import InputError
from striate.networks import timm_library, torchvision_library
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.checking import check_counts
from striate.networks.entry import Entry
from striate.networks.hooks import module_hooks
from striate.networks.library import Library

LIBRARIES: dict[str, Library] = {"timm": timm_library.LIBRARY, "torchvision": torchvision_library.LIBRARY}
TRIED_SIZES = (32, 64, 128)
"""Sides that are tried, the smallest first, to find a small one that a network can take."""


@dataclass(frozen=True)
class ExternalConfig:
    """Channels in, classes out, and the network's name with its library's before it."""

    name: str
    in_channels: int = 3
    num_classes: int = 1000

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


def is_external(name: str) -> bool:
    """Whether a name begins with that of a library, such as "timm:"."""
    library, colon, _ = name.partition(":")
    return bool(colon) and library in LIBRARIES


@lru_cache
def external_entry(reference: str) -> Entry:
    """The entry of LIBRARY:NAME, found by building it on the meta device.

    `min_size` is the smallest of 32, 64 and 128 pixels that works, or else the network's own size; what it can take
    exactly, `check_size_by_trying` tells. Raises InputError for names the library does not have, with near misses, for
    networks that are no image classifiers, and where the library is not installed.
    """
    library, name = _split(reference)
    facts = library.facts(name)
    config = ExternalConfig(reference, num_classes=facts.num_classes)
    build = partial(_build, reference)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        try:
            network = build(config).requires_grad_(False)  # else the counter of operations trips over some
            other = build(ExternalConfig(reference, num_classes=facts.num_classes + 1))
            macs, called = _run(network, (config.in_channels, *facts.size), facts.num_classes)
        except InputError:
            raise
        except Exception as error:  # constructors of a thousand networks may raise anything
            raise InputError(f"{reference} cannot be built as an image classifier: {_one_line(error)}") from error
        stem = _find_stem(reference, network, called, config.in_channels)
        head, other_heads = _find_heads(reference, network, other, called)
        sides = [side for side in TRIED_SIZES if side < min(facts.size)]
        small = next((side for side in sides if not _reason_against(network, config.in_channels, (side, side))), None)
    num_params = sum(param.numel() for param in network.parameters())
    num_auxiliary = sum(param.numel() for part in facts.auxiliary for param in network.get_submodule(part).parameters())
    return Entry(
        name=reference,
        family=reference.partition(":")[0],
        year=None,
        title=facts.title,
        paper=facts.paper,
        build=build,
        config=config,
        input_size=(config.in_channels, *facts.size),
        num_params=num_params - num_auxiliary,
        macs=macs,
        stem=stem,
        head=head,
        min_size=facts.size if small is None else (small, small),
        is_fixed_size=facts.is_fixed_size and small is None,
        auxiliary_heads=other_heads,
        num_auxiliary_params=num_auxiliary,
        weights=facts.weights,
        rename=facts.rename,
        has_norm=any("norm" in type(module).__name__.lower() for module in network.modules()),
        preprocessing=facts.preprocessing,
    )


def check_size_by_trying(entry: Entry, size: tuple[int, int], *, training: bool = False) -> None:
    """Raise InputError with the reason unless the network takes images of `size` (height, width).

    They are sent through without memory, in training mode if asked for: auxiliary heads may need larger images.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = entry.build(entry.config)
        reason = _reason_against(network, entry.config.in_channels, size, training=training)
    if reason:
        height, width = entry.input_size[1:]
        raise InputError(
            f"{entry.name} cannot take images of {size[0]}x{size[1]} pixels: {reason}; its own size is {height}x{width}"
        )


def _split(reference: str) -> tuple[Library, str]:
    prefix, _, name = reference.partition(":")
    library = LIBRARIES[prefix]
    if not name:
        raise InputError(f"name a network after {prefix}:, such as {prefix}:{library.example}")
    return library, name


def _build(reference: str, config: ExternalConfig) -> nn.Module:
    """The library's network in training mode. InputError where the configuration is of another one."""
    if config.name != reference:
        raise InputError(f"{reference} cannot be built from the settings of {config.name}")
    library, name = _split(reference)
    build = partial(library.build, name, config.in_channels, config.num_classes)
    if torch.get_default_device().type != "meta":
        return build().train()
    try:
        return build().train()
    except InputError:
        raise
    except Exception:  # a constructor that computes with numbers of its own, such as widths: they must be real
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), _EmptyWithoutMemory():
            return build().to("meta").train()


class _EmptyWithoutMemory(TorchFunctionMode):
    """What torch.empty makes, as all large weights are, lies on the meta device and costs nothing; all else is real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "meta"} if func is torch.empty else kwargs))


def _run(network: nn.Module, input_size: tuple[int, int, int], num_classes: int) -> tuple[int, list[str]]:
    """Multiply-adds of one image, and the layers with weights in the order in which they ran; evaluation mode.

    InputError unless it answers with one row of logits.
    """
    called: list[str] = []

    weighted = {
        name
        for name, module in network.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor) and module.weight.ndim >= 2
    }

    def note(name: str, _args: Any, _output: Any) -> None:
        if name in weighted:
            called.append(name)

    network.eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, module_hooks(network, lambda *_: None, note, include_root=True):
        answer = network(torch.empty(1, *input_size))
    if not isinstance(answer, Tensor) or answer.shape != (1, num_classes):
        found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise InputError(
            f"an image classifier answers one image with logits (1, {num_classes}) but this network with {found}"
        )
    return counter.get_total_flops() // 2, called


def _find_stem(reference: str, network: nn.Module, called: list[str], in_channels: int) -> str:
    """The first layer with weights that ran: a convolution over all channels of the image."""
    stem = network.get_submodule(called[0]) if called else None
    if not isinstance(stem, nn.Conv2d) or stem.in_channels != in_channels or stem.groups != 1:
        raise InputError(
            f"{reference} does not begin with a convolution of the image, so that striate cannot fit it to other images"
        )
    return called[0]


def _find_heads(reference: str, network: nn.Module, other: nn.Module, called: list[str]) -> tuple[str, tuple[str, ...]]:
    """Of the layers whose weights change with the number of classes the first that runs in evaluation, and the others.

    The first in the order of modules: what comes after it is trained with it.
    """
    shapes = {name: param.shape for name, param in other.named_parameters()}
    changing = [name for name, param in network.named_parameters() if param.shape != shapes.get(name)]
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in changing))
    heads = [name for name in layers if f"{name}.weight" in changing and prod(shapes[f"{name}.weight"][1:]) > 1]
    head = next((name for name in heads if name in called), None)
    if head is None or len(heads) < len(layers):
        raise InputError(
            f"{reference} has no last layer with a row of weights for every class, so that striate cannot fit it to "
            "other classes"
        )
    return head, tuple(name for name in heads if name != head)


def _reason_against(network: nn.Module, channels: int, size: tuple[int, int], *, training: bool = False) -> str | None:
    """Why a network on the meta device cannot take two images of this size, or None where it can."""
    network.train(training)
    try:
        with torch.no_grad():
            answer = network(torch.empty(2, channels, *size))
    except Exception as error:
        return _one_line(error)
    if isinstance(answer, Tensor | WithAuxiliary):
        return None
    return f"it answers with {type(answer).__name__} and not with logits"


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
