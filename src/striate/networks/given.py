"""A network given from Python, a module or a function that builds one, as an entry like those of the catalogue.

N images, C channels, K outputs. What an entry says is found by running the network on images of zeros. Files store the
word "external" for it and never any code: whoever loads such a file gives the network again.
"""

import copy
import hashlib
import inspect
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.flop_counter import FlopCounterMode

from striate.errors import InputError
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.checking import check_counts
from striate.networks.entry import Entry
from striate.networks.hooks import module_hooks
from striate.networks.restore import evaluating, keeping_randomness

EXTERNAL = "external"
"""The name, in files and on screens, of every network that is given from Python."""
NetworkSource = nn.Module | Callable[..., nn.Module]
"""A network, or a function (or class) that takes `num_classes`, and `in_channels` where it has such a parameter, and
makes one.
"""

SHALLOW_LAYERS = 10
"""Up to so many layers with weights, a network without norms starts at the rate of small ones: training/recipes say
which.
"""


_LIBRARIES = ("torch", "torchvision", "timm", "striate")


@dataclass(frozen=True)
class GivenConfig:
    """All that a file stores of such a network."""

    in_channels: int
    num_classes: int

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


@dataclass(frozen=True, eq=False)
class GivenNetwork:
    """A network given from Python. `head` names its last layer as in `named_modules`, found by running it where it is
    None.
    """

    source: NetworkSource
    head: str | None = None

    @property
    def label(self) -> str:
        """What people call it: the class of a module, the function that builds it."""
        source = self.source
        return (
            type(source).__name__
            if isinstance(source, nn.Module)
            else getattr(source, "__name__", type(source).__name__)
        )

    def build(self, config: GivenConfig) -> nn.Module:
        """The network in training mode: what the function makes, or a copy of the module. InputError where it is
        none.
        """
        return build_given(self.source, num_classes=config.num_classes, in_channels=config.in_channels).train()


def build_given(source: NetworkSource, *, num_classes: int, in_channels: int) -> nn.Module:
    """What a builder makes for these counts, or a copy of a module, which the caller keeps as it was.

    Raises InputError where the builder takes no `num_classes`, fails, or makes no module.
    """
    if isinstance(source, nn.Module):
        _refuse_lazy(source)
        return copy.deepcopy(source)
    if not callable(source):
        raise InputError(f"network must be a module or a function that builds one but is {type(source).__name__}")
    arguments = _arguments_for(source, num_classes, in_channels)
    try:
        network = source(**arguments)
    except Exception as error:
        given = ", ".join(f"{name}={value}" for name, value in arguments.items())
        raise InputError(f"the network's builder failed for {given}: {_one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"the network's builder must return a torch.nn.Module but returned {type(network).__name__}")
    _refuse_lazy(network)
    return network


def given_entry(
    given: GivenNetwork,
    *,
    num_classes: int,
    in_channels: int,
    sizes: Iterable[tuple[int, int]],
    seed: int = 0,
    gives_maps: bool = False,
) -> Entry:
    """The entry of a network given from Python, at the first of `sizes` (height, width) that it can take.

    It is built (with `seed`) and run in evaluation and in training mode on two images of zeros; a module given ready
    comes back as it was. Raises InputError where it takes none of the sizes, or answers with anything but logits (N,
    num_classes), or with `gives_maps` (N, num_classes, H, W).
    """
    config = GivenConfig(in_channels, num_classes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = given.build(config)
    with keeping_randomness(network), torch.no_grad():
        size = _first_size(network, config, list(sizes), gives_maps=gives_maps)
        _check_training(network, config, size, gives_maps=gives_maps)
        macs, called = _run(network, (in_channels, *size))
    head = given.head if given.head is not None else _last_layer(network, called, num_classes)
    if head not in dict(network.named_modules()) or not head:
        raise InputError(
            f"{given.label} has no layer called {head!r}, which head names; its layers are those of named_modules()"
        )
    return Entry(
        name=EXTERNAL,
        family=EXTERNAL,
        year=None,
        title=given.label,
        paper="",
        build=given.build,
        config=config,
        input_size=(in_channels, *size),
        num_params=sum(param.numel() for param in network.parameters()),
        macs=macs,
        stem=called[0] if called else "",
        head=head,
        min_size=(1, 1) if gives_maps else size,
        is_fixed_size=not gives_maps,
        kind="segmenter" if gives_maps else "classifier",
        has_norm=any("norm" in type(module).__name__.lower() for module in network.modules()),
        is_shallow=len(set(called)) <= SHALLOW_LAYERS,
    )


def digest_of(network: nn.Module) -> str:
    """64 hexadecimal digits of a network's weights and buffers, with their names: whether two start alike."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def code_digest(network: nn.Module) -> str:
    """64 hexadecimal digits of the code that a network's own modules are made of, as far as Python can tell it.

    Equal weights in other code compute something else. Modules of torch and of libraries with versions count by name
    only.
    """
    digest = hashlib.sha256()
    for kind in dict.fromkeys(type(module) for module in network.modules()):
        digest.update(f"{kind.__module__}.{kind.__qualname__}\n".encode())
        if kind.__module__.partition(".")[0] in _LIBRARIES:
            continue
        for name, member in vars(kind).items():
            if isinstance(code := getattr(member, "__code__", None), CodeType):
                digest.update(f"{name} {_plain(code)}\n".encode())
        with suppress(OSError, TypeError):  # what the file holds besides, such as functions that it calls
            digest.update(Path(inspect.getfile(kind)).read_bytes())
    return digest.hexdigest()


def _plain(code: CodeType) -> str:
    """A function's code as text, without addresses."""
    constants = [_plain(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _refuse_lazy(network: nn.Module) -> None:
    if any(is_lazy(param) for param in network.parameters()):
        raise InputError("the network has lazy layers, which have no weights yet; run one batch through it first")


def _arguments_for(builder: Callable[..., nn.Module], num_classes: int, in_channels: int) -> dict[str, int]:
    """The counts that a builder takes, by its signature."""
    try:
        parameters = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):
        return {"num_classes": num_classes}
    named = {each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)}
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    if "num_classes" not in named and not takes_any:
        raise InputError(
            "the network's builder must take num_classes, the number of outputs; write def build(num_classes): ..., "
            "or give the module"
        )
    arguments = {"num_classes": num_classes}
    return arguments | {"in_channels": in_channels} if "in_channels" in named else arguments


def _first_size(
    network: nn.Module, config: GivenConfig, sizes: list[tuple[int, int]], *, gives_maps: bool
) -> tuple[int, int]:
    """The first size of images that the network takes. InputError with the reason against the first one where there is
    none.
    """
    reasons: dict[tuple[int, int], str] = {}
    for size in dict.fromkeys(sizes):
        try:
            with evaluating(network):
                answer = network(_zeros(network, config.in_channels, size))
        except Exception as error:  # a module may do anything
            reasons[size] = _one_line(error)
            continue
        _check_answer(answer, config.num_classes, size if gives_maps else None)
        return size
    height, width = sizes[0]
    tried = ", ".join(f"{h}x{w}" for h, w in reasons)
    raise InputError(
        f"the network cannot take images of {config.in_channels} channels of {tried} pixels ({height}x{width}: "
        f"{reasons[sizes[0]]}); say the size it needs with Choices(image_size=...)"
    )


def _check_answer(answer: Any, num_classes: int, map_size: tuple[int, int] | None = None) -> None:
    """Raise InputError unless two images were answered with logits (2, num_classes), or (2, num_classes, *map_size)."""
    logits = answer.logits if isinstance(answer, WithAuxiliary) else answer
    if map_size is not None:
        if not isinstance(logits, Tensor) or tuple(logits.shape) != (2, num_classes, *map_size):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            height, width = map_size
            raise InputError(
                f"a segmenter answers N images of {height}x{width} pixels with logits (N, {num_classes}, {height}, "
                f"{width}) but for 2 this network gave {found}"
            )
        return
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"a classifier answers N images with logits (N, {num_classes}) but for 2 this network gave {found}"
        )
    if logits.shape[1] != num_classes:
        raise InputError(
            f"the network has {logits.shape[1]} outputs but {num_classes} are needed, one a class; give it a last "
            f"layer with {num_classes}, or a function that builds it for num_classes"
        )


def _check_training(network: nn.Module, config: GivenConfig, size: tuple[int, int], *, gives_maps: bool) -> None:
    """Raise InputError unless the network answers likewise in training mode; a copy is tried, for norms learn from what
    they see.
    """
    try:
        answer = copy.deepcopy(network).train()(_zeros(network, config.in_channels, size))
    except Exception as error:
        raise InputError(
            f"the network cannot run in training mode on {size[0]}x{size[1]} pixels: {_one_line(error)}"
        ) from error
    _check_answer(answer, config.num_classes, size if gives_maps else None)


def _run(network: nn.Module, input_size: tuple[int, int, int]) -> tuple[int, list[str]]:
    """Multiply-adds of one image, and the layers with weights in the order in which they ran."""
    weighted = {
        name
        for name, module in network.named_modules()
        if isinstance(getattr(module, "weight", None), Tensor) and module.weight.ndim >= 2
    }
    called: list[str] = []

    def note(name: str, _args: Any, _output: Any) -> None:
        if name in weighted:
            called.append(name)

    counter = FlopCounterMode(display=False)
    with evaluating(network), counter, module_hooks(network, lambda *_: None, note):
        network(_zeros(network, input_size[0], input_size[1:]))
    return counter.get_total_flops() // 4, called  # two images, two flops a multiply-add


def _last_layer(network: nn.Module, called: list[str], num_classes: int) -> str:
    """The last layer that ran of those with a row of weights for each output, or else the last of all with
    parameters.
    """
    for name in reversed(called):
        if network.get_submodule(name).weight.shape[0] == num_classes:  # type: ignore[index]
            return name
    owners = [
        name for name, module in network.named_modules() if name and any(True for _ in module.parameters(recurse=False))
    ]
    if not owners:
        raise InputError("the network has no layer with parameters to train; name its last one with head=...")
    return owners[-1]


def _zeros(network: nn.Module, channels: int, size: tuple[int, int]) -> Tensor:
    """Two images of zeros where the network's weights are."""
    param = next((param for param in network.parameters() if param.is_floating_point()), None)
    device = param.device if param is not None else None
    return torch.zeros(2, channels, *size, device=device)


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
