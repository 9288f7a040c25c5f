"""Several classifiers as one network: the mean of their probabilities. N images, C channels, K classes, M members.

Averaging networks that were trained apart is the oldest of the tricks that always help a little (Hansen & Salamon 1990,
doi:10.1109/34.58871; Lakshminarayanan et al. 2017, arXiv:1612.01474, section 2.4). Departure: members may be of
different families, and each has the temperature it was calibrated with.
"""

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.networks.auxiliary import WithAuxiliary
from striate.networks.checking import check_counts
from striate.networks.entry import Entry

MOST_MEMBERS = 64
_LARGEST_NUMBER = 1_000_000


@dataclass(frozen=True)
class EnsembleConfig:
    """Channels in, classes out, and the members: the name of each one's network and its configuration as JSON."""

    in_channels: int = 3
    num_classes: int = 1000
    members: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.members) > MOST_MEMBERS:
            raise InputError(f"an ensemble has at most {MOST_MEMBERS} members but {len(self.members)} are given")
        for member in self.members:
            if len(member) != 2 or not all(isinstance(part, str) for part in member):
                raise InputError("each member of an ensemble is the name of a network and its configuration as JSON")
            if member[0].startswith("ensemble:"):
                raise InputError("an ensemble cannot be a member of another; name its members instead")


class Ensemble(nn.Module):
    """Images (N, C, H, W), normalised for the first member -> the logarithm of the members' mean probabilities (N, K).

    `gains` and `offsets` (M, C) turn that normalisation into each member's own; `temperatures` (M,) divide its logits.
    All are buffers, 1, 0 and 1 until they are set.
    """

    gains: Tensor
    offsets: Tensor
    temperatures: Tensor

    def __init__(self, base: Entry, find: Callable[[str], Entry], config: EnsembleConfig) -> None:
        super().__init__()
        self.config = config
        members = config.members or ((base.name, "{}"), (base.name, "{}"))
        networks = [_member(base if name == base.name else find(name), text, config) for name, text in members]
        self.members = nn.ModuleList(networks)
        self.register_buffer("gains", torch.ones(len(networks), config.in_channels))
        self.register_buffer("offsets", torch.zeros(len(networks), config.in_channels))
        self.register_buffer("temperatures", torch.ones(len(networks)))

    def forward(self, images: Tensor) -> Tensor:
        """The logarithm of mean probabilities, whose softmax they are."""
        logs = []
        for place, member in enumerate(self.members):
            gain, offset = (part[place].view(1, -1, 1, 1) for part in (self.gains, self.offsets))
            answer = member(images * gain + offset)
            logits = answer.logits if isinstance(answer, WithAuxiliary) else answer
            logits = F.pad(logits, (1, 0)) if logits.shape[1] == 1 else logits  # the logit of the second of two classes
            logs.append((logits.float() / self.temperatures[place]).log_softmax(dim=1))
        return torch.stack(logs).logsumexp(dim=0) - math.log(len(logs))


def _member(entry: Entry, text: str, config: EnsembleConfig) -> nn.Module:
    """A member with fresh weights. InputError where its configuration is none of its family's."""
    try:
        values = json.loads(text)
    except ValueError:
        raise InputError(f"the configuration of {entry.name} is no JSON") from None
    if not isinstance(values, dict) or not all(abs(number) <= _LARGEST_NUMBER for number in _numbers(values)):
        raise InputError(f"the configuration of {entry.name} is no JSON object of numbers up to {_LARGEST_NUMBER:,}")
    values = {"in_channels": config.in_channels, "num_classes": config.num_classes} | values
    try:
        return entry.build(
            dataclasses.replace(entry.config, **{name: _tuples(value) for name, value in values.items()})
        )
    except TypeError as error:
        raise InputError(f"{entry.name} cannot be configured so: {error}") from None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [number for part in parts for number in _numbers(part)]
    return [value] if isinstance(value, int | float) else []


def _find(name: str) -> Entry:
    from striate.networks.catalogue import entry_for  # which knows this file

    return entry_for(name)


def ensemble_on(base: Entry) -> Entry:
    """The entry of an ensemble whose first member is of a network of the catalogue; two fresh ones of it until it is
    told more.
    """
    if base.kind != "classifier":
        raise InputError(f"{base.name} is a {base.kind}, and an ensemble is of classifiers")
    config = EnsembleConfig(in_channels=base.config.in_channels, num_classes=base.config.num_classes)
    return dataclasses.replace(
        base,
        name=f"ensemble:{base.name}",
        family="ensemble",
        year=1990,
        title="Neural network ensembles",
        paper="doi:10.1109/34.58871",
        build=partial(Ensemble, base, _find),
        config=config,
        num_params=2 * base.num_params,
        macs=2 * base.macs,
        stem=f"members.0.{base.stem}",
        head=f"members.0.{base.head}",
        auxiliary_heads=(),
        num_auxiliary_params=0,
        other_stems=(),
        published=None,
        weights=(),
        initialize_from_images=None,
        rename=None,
        preprocessing=base.usual_preprocessing,
    )
