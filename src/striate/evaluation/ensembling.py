"""Join trained classifiers into one model whose probabilities are the mean of theirs."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from striate.data.opening import Access
from striate.errors import InputError
from striate.evaluation.comparison import Comparison, compare
from striate.evaluation.evaluate_model import own_data
from striate.networks.catalogue import entry_for, names_network
from striate.networks.ensemble import Ensemble, EnsembleConfig
from striate.progress import Log, log_nothing
from striate.tasks.model import Model, load_model
from striate.version import __version__

_TIMED = 32


def make_ensemble(models: Sequence[Model | str | Path], *, log: Log = log_nothing) -> Model:
    """One model of several classifiers: the mean of their probabilities, each at its own temperature.

    The members must name the same classes in the same order and see images of the same size prepared alike; only their
    mean and standard deviation may differ. The model file holds all weights, and works like any other. InputError where
    they do not fit together.
    """
    if len(models) < 2:
        raise InputError("an ensemble needs two models or more; name them")
    loaded = [each if isinstance(each, Model) else load_model(each, log=log) for each in models]
    names = [str(each) if not isinstance(each, Model) else each.network_name for each in models]
    first = loaded[0]
    for name, model in zip(names, loaded, strict=True):
        if problem := _problem(model, first):
            raise InputError(f"{name} cannot be a member beside {names[0]}: {problem}")
    size = first.preprocessing.channels
    config = EnsembleConfig(
        in_channels=size,
        num_classes=len(first.class_names),
        members=tuple((model.network_name, json.dumps(model.network_config)) for model in loaded),
    )
    entry = entry_for(f"ensemble:{first.network_name}")
    network = entry.build(config)
    assert isinstance(network, Ensemble)
    with torch.no_grad():
        for place, model in enumerate(loaded):
            network.members[place].load_state_dict(model.network.state_dict())
            gain, offset = _between(first, model)
            network.gains[place] = gain
            network.offsets[place] = offset
            network.temperatures[place] = model.temperature
    return Model(
        network.eval(),
        network_name=entry.name,
        network_config={
            "in_channels": config.in_channels,
            "num_classes": config.num_classes,
            "members": config.members,
        },
        class_names=first.class_names,
        preprocessing=first.preprocessing,
        provenance={"striate": __version__, "ensemble": names, **_common_data(loaded)},
    )


@dataclass(frozen=True)
class EnsembleGain:
    """What an ensemble gains: its accuracy over that of its best member, and over the mean of all, on the images of
    `comparison`, in which it is the last model. `p_value` is McNemar's exact one against the best member.
    """

    comparison: Comparison
    best_member: str
    accuracy: float
    over_best: float
    over_mean: float
    p_value: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**own, "comparison": self.comparison.to_json()}


@dataclass(frozen=True)
class EnsembleCost:
    """What an ensemble costs: `parameters` and `time` of a prediction as multiples of the largest and the slowest
    member's.
    """

    parameters: float
    time: float


def ensemble_gain(
    members: Sequence[Model],
    joined: Model,
    source: str | Path | None = None,
    *,
    split: str | None = None,
    names: Sequence[str] | None = None,
    access: Access | None = None,
) -> EnsembleGain:
    """What the ensemble `joined` gains over its members on a part of a source, by default as `compare` chooses it.

    `names` are what the members and, last, the ensemble are called. Raises as `compare` does.
    """
    found = compare([*members, joined], source, split=split, names=names, access=access)
    accuracies = [each.accuracy for each in found.models]
    best = int(np.argmax(accuracies[:-1]))
    pair = next((pair for pair in found.pairs if {pair.first, pair.second} == {best, len(members)}), None)
    return EnsembleGain(
        comparison=found,
        best_member=found.models[best].name,
        accuracy=accuracies[-1],
        over_best=accuracies[-1] - accuracies[best],
        over_mean=accuracies[-1] - float(np.mean(accuracies[:-1])),
        p_value=None if pair is None else pair.p_value,
    )


def ensemble_cost(members: Sequence[Model], joined: Model) -> EnsembleCost:
    """What the ensemble `joined` costs, measured here and now on a batch of 32 grey images."""
    return EnsembleCost(
        parameters=_num_params(joined) / max(map(_num_params, members)),
        time=_seconds(joined) / max(map(_seconds, members)),
    )


def _num_params(model: Model) -> int:
    return sum(param.numel() for param in model.network.parameters())


def _seconds(model: Model) -> float:
    """The least time of three for a batch."""
    size = (_TIMED, model.preprocessing.channels, *model.preprocessing.crop_size)
    images = torch.full(size, 128, dtype=torch.uint8)
    took = []
    for _ in range(3):
        began_at = time.perf_counter()
        model.probabilities(images)
        took.append(time.perf_counter() - began_at)
    return min(took)


def _problem(model: Model, first: Model) -> str:
    """Why a model cannot stand beside the first; empty where it can."""
    if not model.task.has_probabilities:
        return f"it is for {model.task.name}, and an ensemble is of classifiers"
    if not names_network(model.network_name):
        return "its network was given from Python, whose code no file holds"
    if model.network_name.startswith("ensemble:"):
        return "it is an ensemble itself; name its members"
    if model.structure:
        return "its layers were made smaller by compressing, which an ensemble cannot rebuild"
    if model.class_names != first.class_names:
        return "it names other classes, or in another order"
    own, usual = model.preprocessing, first.preprocessing
    if replace(own, mean=usual.mean, std=usual.std) != usual:
        return (
            f"it sees images of {own.crop_size}, resized to {own.resize_size}, and the other {usual.crop_size} of "
            f"{usual.resize_size}"
        )
    return ""


def _between(first: Model, other: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """Gain and offset (C,) each, from what the first model's normalisation gives to what the other's would."""
    mean, std, own_mean, own_std = (
        torch.tensor(values, dtype=torch.float64)
        for values in (
            first.preprocessing.mean,
            first.preprocessing.std,
            other.preprocessing.mean,
            other.preprocessing.std,
        )
    )
    return (std / own_std).float(), ((mean - own_mean) / own_std).float()


def _common_data(models: list[Model]) -> dict[str, Any]:
    """What the members were trained on, where all had the same splits of the same data; else nothing."""
    found = [own_data(model.provenance) for model in models]
    keys = {None if each is None else (each["fingerprint"], each["splits"]["digest"]) for each in found}
    return {"data": found[0]} if len(keys) == 1 and None not in keys else {}
