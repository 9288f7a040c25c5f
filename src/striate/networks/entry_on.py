"""The entry of a network that is built on another's features: counted by building it without memory. C channels, K
classes.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from striate.errors import InputError
from striate.networks.entry import Entry

SIDE_PX = 320
"""Height and width that multiply-adds are counted at."""
_LEAST_PX = 64


def entry_on(
    base: Entry,
    part: str,
    build: Callable[[Any], nn.Module],
    config: Any,
    *,
    kind: str = "detector",
    head: str = "classify",
    year: int,
    title: str,
    paper: str,
) -> Entry:
    """The entry PART:BASE. `head` is its last layer with K outputs; the base's layers lie in its submodule "base".

    InputError where nothing can be built on the base.
    """
    if base.kind != "classifier":
        raise InputError(f"{base.name} is a {base.kind}, and {part} is built on a classifier's features")
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = build(config).eval().requires_grad_(False)
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            network(torch.empty(1, config.in_channels, SIDE_PX, SIDE_PX))
    least = max(_LEAST_PX, *base.min_size)
    return Entry(
        name=f"{part}:{base.name}",
        family=part,
        year=year,
        title=title,
        paper=paper,
        build=build,
        config=config,
        input_size=(config.in_channels, SIDE_PX, SIDE_PX),
        num_params=sum(param.numel() for param in network.parameters()),
        macs=counter.get_total_flops() // 2,
        stem=f"base.{base.stem}",
        head=head,
        min_size=(least, least),
        preprocessing=base.usual_preprocessing,
        kind=kind,
        base=base,
    )
