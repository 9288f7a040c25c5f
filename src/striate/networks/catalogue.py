"""Every network of striate by name, and those of other libraries: list ours, find one, build one."""

import dataclasses
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from striate.errors import InputError
from striate.networks.checking import check_size
from striate.networks.composite import composite_entry, is_composite
from striate.networks.detectors.catalogue import DETECTORS
from striate.networks.entry import Entry
from striate.networks.external import check_size_by_trying, external_entry, is_external
from striate.networks.families import (
    airbench,
    alexnet,
    allconv,
    densenet,
    digitnet,
    efficientnet,
    fractalnet,
    googlenet,
    highway,
    inception_resnet,
    inception_v2,
    inception_v3,
    inception_v4,
    lenet,
    maxout,
    mlp,
    mnasnet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    nasnet,
    neocognitron,
    nin,
    overfeat,
    preact_resnet,
    rbf,
    resnet,
    resnext,
    senet,
    shufflenet,
    shufflenet_v2,
    squeezenet,
    stochastic_depth,
    tdnn,
    vgg,
    wide_resnet,
    xception,
    zfnet,
)
from striate.networks.segmenters.catalogue import SEGMENTERS
from striate.registry import Registry

CATALOGUE: Registry[Entry] = Registry(
    "network",
    neocognitron.ENTRIES,
    mlp.ENTRIES,
    tdnn.ENTRIES,
    lenet.ENTRIES,
    alexnet.ENTRIES,
    maxout.ENTRIES,
    nin.ENTRIES,
    zfnet.ENTRIES,
    overfeat.ENTRIES,
    vgg.ENTRIES,
    allconv.ENTRIES,
    googlenet.ENTRIES,
    inception_v2.ENTRIES,
    digitnet.ENTRIES,
    highway.ENTRIES,
    inception_v3.ENTRIES,
    resnet.ENTRIES,
    stochastic_depth.ENTRIES,
    preact_resnet.ENTRIES,
    rbf.ENTRIES,
    inception_v4.ENTRIES,
    inception_resnet.ENTRIES,
    squeezenet.ENTRIES,
    wide_resnet.ENTRIES,
    fractalnet.ENTRIES,
    densenet.ENTRIES,
    xception.ENTRIES,
    resnext.ENTRIES,
    mobilenet_v1.ENTRIES,
    shufflenet.ENTRIES,
    nasnet.ENTRIES,
    senet.ENTRIES,
    mobilenet_v2.ENTRIES,
    shufflenet_v2.ENTRIES,
    mnasnet.ENTRIES,
    mobilenet_v3.ENTRIES,
    efficientnet.ENTRIES,
    airbench.ENTRIES,
)


Sort = Literal["year", "name", "params", "macs", "error"]
_SORT_KEYS: dict[str, Callable[[Entry], Any]] = {
    "year": lambda entry: entry.year or 0,
    "name": lambda entry: entry.name,
    "params": lambda entry: entry.num_params,
    "macs": lambda entry: entry.macs,
    "error": lambda entry: math.inf if _top1_error(entry) is None else _top1_error(entry),
}


_DATASETS = ("CIFAR-100", "CIFAR-10", "ImageNet", "ILSVRC", "MNIST", "SVHN")


def list_networks(
    *,
    kind: str = "classifier",
    family: str | None = None,
    since: int | None = None,
    until: int | None = None,
    max_params: int | None = None,
    max_macs: int | None = None,
    only_with_weights: bool = False,
    sort: Sort | str | None = None,
) -> list[dict[str, Any]]:
    """The catalogue as rows of plain values: all of a `kind`, "classifier" or "segmenter", or
    those of one family, of the years from `since` to `until`, with at
    most so many parameters or multiply-adds, or with published weights.

    In the order of their years, or by `sort`: year, name, params, macs or error (top-1; those without come last),
    smallest first. Keys: name, family, year, title, paper, input_size [C, H, W], min_size [H, W], is_fixed_size,
    num_params, macs, published (null, or source, top1_error and top5_error as fractions), weights (their names).
    InputError for an unknown family or order, naming the known ones.

    `family` is such as "resnet"; `max_params` and `max_macs` are numbers; `only_with_weights` leaves out those without
    published weights.
    """
    tables = {"classifier": CATALOGUE, "segmenter": SEGMENTERS}
    if kind not in tables:
        raise InputError(f"networks are of the kind {' or '.join(tables)}, but not {kind!r}")
    families = dict.fromkeys(entry.family for entry in tables[kind].values())
    if family is not None and family not in families:
        raise InputError(f"no family is called {family!r}; there are: {', '.join(families)}")
    if sort is not None and sort not in _SORT_KEYS:
        raise InputError(f"networks are sorted by {', '.join(_SORT_KEYS)} but not by {sort!r}")
    chosen = [
        entry
        for entry in tables[kind].values()
        if family in (None, entry.family)
        and (since is None or (entry.year or 0) >= since)
        and (until is None or (entry.year or 0) <= until)
        and (max_params is None or entry.num_params <= max_params)
        and (max_macs is None or entry.macs <= max_macs)
        and (entry.weights or not only_with_weights)
    ]
    return [_row(entry) for entry in sorted(chosen, key=_SORT_KEYS[sort or "year"])]


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "family": entry.family,
        "year": entry.year,
        "title": entry.title,
        "paper": entry.paper,
        "input_size": list(entry.input_size),
        "min_size": list(entry.min_size),
        "is_fixed_size": entry.is_fixed_size,
        "num_params": entry.num_params,
        "macs": entry.macs,
        "published": None if entry.published is None else dataclasses.asdict(entry.published),
        "dataset": None if _top1_error(entry) is None else _dataset_of(entry),
        "weights": [weights.name for weights in entry.weights],
    }


def _dataset_of(entry: Entry) -> str:
    """What the published error was measured on: as its source says, or as the default head tells."""
    assert entry.published is not None
    named = next((name for name in _DATASETS if name.lower() in entry.published.source.lower()), None)
    if named is not None:
        return named
    num_classes = getattr(entry.config, "num_classes", None)
    ten_classes = {(3, 32, 32): "CIFAR-10", (1, 28, 28): "MNIST"}
    usual = {1000: "ImageNet", 100: "CIFAR-100", 10: ten_classes.get(entry.input_size)}.get(num_classes or 0)
    return usual or "its own"


def _top1_error(entry: Entry) -> float | None:
    return None if entry.published is None else entry.published.top1_error


def entry_for(name: str) -> Entry:
    """The entry called `name`, of the catalogue or as `timm:NAME` or `torchvision:NAME`, or PART:BASE (composite.py);
    InputError with near misses where there is none.
    """
    if is_composite(name):
        part, _, base = name.partition(":")
        return composite_entry(part, entry_for(base))
    for others in (SEGMENTERS, DETECTORS):
        if name in others:
            return others[name]
    return external_entry(name) if is_external(name) else CATALOGUE.find(name)


def names_network(reference: str) -> bool:
    """Whether it has the form of a network's name, without weights: one of the catalogue, any of a library's, or a part
    on either.
    """
    if is_composite(reference):
        return names_network(reference.partition(":")[2])
    is_own = reference in CATALOGUE or reference in SEGMENTERS or reference in DETECTORS
    return is_own or (is_external(reference) and reference.count(":") == 1)


def split_reference(reference: str) -> tuple[str, str]:
    """NETWORK and WEIGHTS of NETWORK:WEIGHTS, the latter empty where there are none; a library's names have a colon
    of their own, and so has a part on another network.
    """
    if is_composite(reference):
        part, _, rest = reference.partition(":")
        base, weights = split_reference(rest)
        return f"{part}:{base}", weights
    library, colon, rest = reference.partition(":") if is_external(reference) else ("", "", reference)
    name, _, weights = rest.partition(":")
    return library + colon + name, weights


def build_network(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    seed: int | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """The network called `name`, freshly initialised, in training mode; counts left out are those of its paper.

    With a `seed` the weights depend on it alone, on every device, and no random generator of the caller moves; without
    one they are drawn from torch's global generator, as in torch itself. `device="meta"` makes shapes only, without
    memory. Raises InputError for unknown names and for counts below 1.

    `num_classes` are outputs, `in_channels` 1 for grey and 3 for colour.
    """
    return build_entry(entry_for(name), num_classes=num_classes, in_channels=in_channels, seed=seed, device=device)


def build_entry(
    entry: Entry,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    seed: int | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """As `build_network`, of an entry: that of a network given from Python, say, which has no name of its own."""
    counts = {"num_classes": num_classes, "in_channels": in_channels}
    config = dataclasses.replace(entry.config, **{key: count for key, count in counts.items() if count is not None})
    wanted = torch.device("cpu" if device is None else device)
    # drawn on the CPU whatever the device, so that a seed means the same weights everywhere
    with torch.random.fork_rng(devices=[]) if seed is not None else nullcontext():
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        is_meta = wanted.type == "meta"
        with torch.device("meta" if is_meta else "cpu"), _Undrawn() if is_meta else nullcontext():
            network = entry.build(config)
    return network.to(wanted)


def check_input_size(entry: Entry, size: tuple[int, int], *, training: bool = False) -> None:
    """Raise InputError naming the smallest, or only, legal size unless images of `size` (height, width) fit.

    Other people's networks do not say; they are tried, in training mode if asked for.
    """
    if is_external(entry.name):
        check_size_by_trying(entry, size, training=training)
        return
    check_size(size, entry.min_size, is_fixed_size=entry.is_fixed_size, network=entry.name)


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of numbers: for weights without memory it would take most of the time for nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))
