"""Every network of striate by name: list them, find one, build one."""

import dataclasses
from contextlib import nullcontext

import torch
from torch import nn

from striate.networks import lenet, squeezenet
from striate.networks.checking import check_size
from striate.networks.entry import Entry
from striate.registry import Registry

CATALOGUE: Registry[Entry] = Registry("network", lenet.ENTRIES, squeezenet.ENTRIES)


def entry_for(name: str) -> Entry:
    """The entry called `name`; InputError with near misses where there is none."""
    return CATALOGUE.find(name)


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


def check_input_size(entry: Entry, size: tuple[int, int]) -> None:
    """Raise InputError naming the smallest, or only, legal size unless images of `size` (height, width) fit."""
    check_size(size, entry.min_size, is_fixed_size=entry.is_fixed_size, network=entry.name)
