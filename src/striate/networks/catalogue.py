"""Every network of striate by name, and those of other libraries: list ours, find one, build one."""

import dataclasses
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from striate.errors import InputError
from striate.networks import airbench, alexnet, lenet, resnet, squeezenet
from striate.networks.checking import check_size
from striate.networks.elsewhere import check_size_by_trying, entry_from_elsewhere, is_elsewhere
from striate.networks.entry import Entry
from striate.registry import Registry

CATALOGUE: Registry[Entry] = Registry(
    "network", lenet.ENTRIES, alexnet.ENTRIES, squeezenet.ENTRIES, resnet.ENTRIES, airbench.ENTRIES
)


def list_networks(*, family: str | None = None) -> list[dict[str, Any]]:
    """The catalogue as rows of plain values, whole or one family; InputError, naming the families, where there is none.

    Keys: name, family, year, title, paper, input_size [C, H, W], min_size [H, W], is_fixed_size, num_params, macs,
    published (null, or source, top1_error and top5_error as fractions), weights (their names).
    """
    families = dict.fromkeys(entry.family for entry in CATALOGUE.values())
    if family is not None and family not in families:
        raise InputError(f"no family is called {family!r}; there are: {', '.join(families)}")
    return [
        {
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
            "weights": [weights.name for weights in entry.weights],
        }
        for entry in CATALOGUE.values()
        if family in (None, entry.family)
    ]


def entry_for(name: str) -> Entry:
    """The entry called `name`, of the catalogue or as `timm:NAME` or `torchvision:NAME`; InputError with near misses
    where there is none.
    """
    return entry_from_elsewhere(name) if is_elsewhere(name) else CATALOGUE.find(name)


def names_network(reference: str) -> bool:
    """Whether it has the form of a network's name, without weights: one of the catalogue, or any of a library's."""
    return reference in CATALOGUE or (is_elsewhere(reference) and reference.count(":") == 1)


def split_reference(reference: str) -> tuple[str, str]:
    """NETWORK and WEIGHTS of NETWORK:WEIGHTS, the latter empty where there are none; a library's names have a colon
    of their own.
    """
    library, colon, rest = reference.partition(":") if is_elsewhere(reference) else ("", "", reference)
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
    """
    entry = entry_for(name)
    counts = {"num_classes": num_classes, "in_channels": in_channels}
    config = dataclasses.replace(entry.config, **{key: count for key, count in counts.items() if count is not None})
    wanted = torch.device("cpu" if device is None else device)
    # drawn on the CPU whatever the device, so that a seed means the same weights everywhere
    with torch.random.fork_rng(devices=[]) if seed is not None else nullcontext():
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        with torch.device("meta" if wanted.type == "meta" else "cpu"):
            network = entry.build(config)
    return network.to(wanted)


def check_input_size(entry: Entry, size: tuple[int, int], *, training: bool = False) -> None:
    """Raise InputError naming the smallest, or only, legal size unless images of `size` (height, width) fit.

    Other people's networks do not say; they are tried, in training mode if asked for.
    """
    if is_elsewhere(entry.name):
        check_size_by_trying(entry, size, training=training)
        return
    check_size(size, entry.min_size, is_fixed_size=entry.is_fixed_size, network=entry.name)
