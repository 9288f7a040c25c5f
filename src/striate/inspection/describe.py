"""Describe a network named in any way that the command line knows."""

from pathlib import Path

from striate.inspection.layers import NetworkDescription, describe_network
from striate.networks.catalogue import CATALOGUE, build_network, check_input_size
from striate.progress import Tell, tell_nobody
from striate.tasks.model import load_model


def describe(
    reference: str | Path, *, input_size: tuple[int, int, int] | None = None, tell: Tell = tell_nobody
) -> NetworkDescription:
    """What a network is made of, layer by layer: a catalogue name, or a model as `load_model` takes it.

    `input_size` (C, H, W) is the entry's, or the one the model was trained at, unless given. A catalogue network takes as many
    channels as `input_size` says. Raises InputError for unknown names and sizes that the network cannot take.
    """
    if str(reference) in CATALOGUE or not _may_be_model(str(reference)):
        entry = CATALOGUE.find(str(reference))
        size = input_size or entry.input_size
        check_input_size(entry, size[1:])
        return describe_network(build_network(entry.name, in_channels=size[0], device="meta"), size)
    model = load_model(reference, tell=tell)
    own_size = (model.preprocessing.channels, *model.preprocessing.crop_size)
    return describe_network(model.network, input_size or own_size)


def _may_be_model(reference: str) -> bool:
    return Path(reference).exists() or ":" in reference or "/" in reference
