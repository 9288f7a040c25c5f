"""Describe a network named in any way that the command line knows."""

from pathlib import Path

from torch import nn

from striate.errors import InputError
from striate.inspection.layers import NetworkDescription, describe_network
from striate.networks.catalogue import build_network, check_input_size, entry_for, names_network
from striate.progress import Log, log_nothing
from striate.tasks.model import Model, load_model


def describe(
    reference: str | Path | nn.Module | Model, *, input_size: tuple[int, int, int] | None = None, log: Log = log_nothing
) -> NetworkDescription:
    """Describe a network layer by layer: any module, a model, a network by name, or a model as `load_model` takes it.

    `input_size` (C, H, W) must be given for a module; else it is the entry's, or the one the model was trained at,
    unless given. A catalogue network takes as many channels as `input_size` says. Raises InputError for unknown names
    and sizes that the network cannot take.
    """
    return describe_network(*network_and_size(reference, input_size, has_values=False, log=log))


def network_and_size(
    reference: str | Path | nn.Module | Model,
    input_size: tuple[int, int, int] | None,
    *,
    has_values: bool,
    log: Log = log_nothing,
) -> tuple[nn.Module, tuple[int, int, int]]:
    """The network that a reference means, and the size of its images, as for `describe`.

    A catalogue network has weights drawn with seed 0 if `has_values`, else shapes only.
    """
    if input_size is not None and (len(input_size) != 3 or not all(isinstance(n, int) and n > 0 for n in input_size)):
        raise InputError(f"input_size must be (channels, height, width) such as (3, 224, 224) but is {input_size!r}")
    if isinstance(reference, nn.Module):
        if input_size is None:
            raise InputError("a module does not say what it takes; give input_size=(channels, height, width)")
        return reference, input_size
    if not isinstance(reference, Model) and (names_network(str(reference)) or not _may_be_model(str(reference))):
        entry = entry_for(str(reference))
        size = input_size or entry.input_size
        check_input_size(entry, size[1:])
        options = {"seed": 0} if has_values else {"device": "meta"}
        return build_network(entry.name, in_channels=size[0], **options), size
    model = reference if isinstance(reference, Model) else load_model(reference, log=log)
    own_size = (model.preprocessing.channels, *model.preprocessing.crop_size)
    return model.network, input_size or own_size


def _may_be_model(reference: str) -> bool:
    return Path(reference).exists() or ":" in reference or "/" in reference
