"""The work of a compression: each step done where it was not done before, in a folder that another call goes on
with.
"""

import copy
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from torch import nn

from striate.compression.answers import answers_to
from striate.compression.bias_correction import correcting_biases
from striate.compression.channels import prune_to_macs
from striate.compression.constraints import constrained_copy
from striate.compression.deep import share_by
from striate.compression.distil import Distilled, check_teacher
from striate.compression.few_values import with_few_values
from striate.compression.images import CompressionImages
from striate.compression.int8 import quantize_weights, rounded_copy
from striate.compression.low_rank import factor_layers
from striate.compression.model_bytes import bytes_of
from striate.compression.prune import prune, prune_weight, sparsity_of
from striate.compression.retrain import retrain, with_rate
from striate.compression.sensitivity import equal_rise, sensitivity_curves
from striate.compression.share import round_to_half
from striate.compression.steps import (
    DenseSparseDense,
    Distil,
    FewValues,
    Int8,
    LowRank,
    Prune,
    PruneChannels,
    Share,
    Step,
)
from striate.compression.tune_shared import tune_shared
from striate.compression.weights_of import weight_of, weighted_layers
from striate.data.cache import make_folder, write_atomically
from striate.data.opening import Access
from striate.errors import InputError
from striate.networks.catalogue import build_network, check_input_size, entry_for
from striate.tasks.model import Model, load_model
from striate.training.observer import Observer
from striate.training.recipe import Recipe, ScheduleConfig
from striate.units import percent
from striate.weights.structure import Structure

SENSITIVITY_IMAGES, CORRECTION_IMAGES, TUNING_IMAGES = 1000, 64, 512
PRUNE_RATE, SHARE_RATE = 0.5, 0.02
"""Peak rates of retraining, as parts of the rate that the model was trained with."""


class Work:
    """What a compression has done so far, in a folder of its own that another call with the same wishes goes on
    with.
    """

    def __init__(
        self,
        folder: Path,
        model: Model,
        images: CompressionImages,
        steps: Sequence[Step],
        access: Access,
        observer: Callable[[], Observer],
    ) -> None:
        self.folder, self.images, self.access, self.observer = folder, images, access, observer
        wishes = json.dumps([{"kind": type(step).__name__, **asdict(step)} for step in steps], sort_keys=True)
        digest = hashlib.sha256(wishes.encode() + bytes_of(model)[0] + images.test.tobytes() + images.train.tobytes())
        identity = digest.hexdigest()
        marker = folder / "identity"
        if folder.exists() and (not marker.is_file() or marker.read_text() != identity):
            shutil.rmtree(folder)
        try:
            make_folder(folder)
            write_atomically(marker, identity.encode())
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}; name another file with --out") from None

    def path_of(self, number: int, step: Step) -> Path:
        return self.folder / f"{number}-{step.name}.striate"

    def take(self, number: int, step: Step, model: Model, recipe: Recipe | None) -> Model:
        """The model after one step; its network is changed in place, or replaced where the step says so."""
        if recipe is None and isinstance(step, FewValues | Distil | DenseSparseDense):
            raise InputError(
                f"{step.name} trains, and {self.images.source} has no training and validation part; name a source "
                "that has"
            )
        match step:
            case Prune():
                self._prune(number, step, model, recipe)
            case Share():
                self._share(number, step, model, recipe)
                round_to_half(model.network)
            case FewValues():
                few = partial(with_few_values, kind=step.kind)
                self._retrain(
                    number, 0, model, with_rate(recipe_of(recipe), epochs=step.epochs, rate_factor=PRUNE_RATE), few
                )
                round_to_half(model.network)
            case Int8():
                if recipe is not None and step.epochs:
                    this = with_rate(recipe, epochs=step.epochs, rate_factor=SHARE_RATE)
                    self._retrain(number, 0, model, this, rounded_copy)
                with correcting_biases(model.network, self.images.some(model, CORRECTION_IMAGES)[1]):
                    quantize_weights(model.network)
            case PruneChannels():
                _, given = self.images.some(model, 1)
                network, structure = prune_to_macs(model.network, step.macs, given)
                return self._restructured(number, model, network, structure, recipe, step.epochs)
            case LowRank():
                structure = factor_layers(model.network, step.energy)
                if not structure:
                    self.access.log(
                        f"no layer has fewer weights in factors that keep {percent(step.energy, 1)}: nothing changes"
                    )
                return self._restructured(number, model, model.network, structure, recipe, step.epochs)
            case Distil():
                return self._distil(number, step, model, recipe_of(recipe))
            case DenseSparseDense():
                prune(model.network, step.sparsity, scope="layer")
                trained = recipe_of(recipe)
                sparse = with_rate(trained, epochs=step.epochs, rate_factor=PRUNE_RATE)
                self._retrain(number, 0, model, sparse)
                dense = with_rate(trained, epochs=step.epochs, rate_factor=PRUNE_RATE / 10)
                self._retrain(number, 1, model, dense, copy.deepcopy)
        return model

    def _share(self, number: int, step: Share, model: Model, recipe: Recipe | None) -> None:
        """Shared values, trained on labels where there are parts for it, else on what the model answered before."""
        if recipe is not None:
            share_by(model, step)
            if step.epochs:
                self._retrain(number, 0, model, with_rate(recipe, epochs=step.epochs, rate_factor=SHARE_RATE))
            return
        teacher = dataclasses.replace(model, network=copy.deepcopy(model.network))
        with correcting_biases(model.network, self.images.some(model, CORRECTION_IMAGES)[1]):
            share_by(model, step)
        if step.epochs:
            self.access.log("the shared values learn what the model answered to these images before, without labels")
            tune_shared(model, teacher, self.images, epochs=step.epochs, most=TUNING_IMAGES, track=self.access.track)

    def _prune(self, number: int, step: Prune, model: Model, recipe: Recipe | None) -> None:
        """A little more in each round, so that as large a part of what is left goes in each."""
        first = sparsity_of(model.network)
        if step.sparsity < first:
            self.access.log(f"{percent(first, 1)} of the weights are zero already: nothing is pruned")
            return
        layers = weighted_layers(model.network)
        goals = self._sensitivities(step, model) if step.scope == "sensitivity" else {}
        num_rounds = 1 if recipe is None else step.rounds
        for done in range(1, num_rounds + 1):
            for name, goal in goals.items():
                prune_weight(weight_of(layers[name]), 1 - (1 - goal) ** (done / num_rounds))
            if step.scope != "sensitivity":
                kept = (1 - first) * ((1 - step.sparsity) / (1 - first)) ** (done / num_rounds)
                prune(model.network, 1 - kept, scope=step.scope)
            epochs = step.epochs if done < num_rounds else step.last_epochs
            if recipe is not None and epochs:
                self._retrain(number, done, model, with_rate(recipe, epochs=epochs, rate_factor=PRUNE_RATE))

    def _sensitivities(self, step: Prune, model: Model) -> dict[str, float]:
        """How much of each layer to prune, by curves measured on validation images."""
        chosen, given = self.images.some(model, SENSITIVITY_IMAGES)
        batches = given.split(256)
        curves = sensitivity_curves(
            model.network, lambda network: float(answers_to(network, batches, self.images.labels[chosen]).losses.mean())
        )
        goals = equal_rise(curves, step.sparsity)
        self.access.log(
            "pruned by sensitivity: " + ", ".join(f"{name} {percent(each, 0)}" for name, each in goals.items())
        )
        return goals

    def _restructured(
        self, number: int, model: Model, network: nn.Module, structure: Structure, recipe: Recipe | None, epochs: int
    ) -> Model:
        """The model with a network of another structure, retrained."""
        merged = {name: dict(change) for name, change in model.structure.items()}
        for name, change in structure.items():
            merged.setdefault(name, {}).update(change)
        model = dataclasses.replace(model, network=network, structure=merged)
        if recipe is not None and epochs and structure:
            self._retrain(number, 0, model, with_rate(recipe, epochs=epochs, rate_factor=PRUNE_RATE))
        return model

    def _distil(self, number: int, step: Distil, model: Model, recipe: Recipe) -> Model:
        """The student, taught: the model itself, or a fresh network."""
        teacher = load_model(step.teacher, device=model.device, download=self.access.download, log=self.access.log)
        check_teacher(teacher, model)
        this = with_rate(recipe, epochs=step.epochs, rate_factor=PRUNE_RATE)
        if step.network is not None:
            entry = entry_for(step.network)
            check_input_size(entry, model.preprocessing.crop_size)
            sizes = {"num_classes": len(model.class_names), "in_channels": model.preprocessing.channels}
            student = build_network(
                entry.name, num_classes=sizes["num_classes"], in_channels=sizes["in_channels"], seed=recipe.seed
            ).to(model.device)
            config = asdict(dataclasses.replace(entry.config, **sizes))
            model = dataclasses.replace(
                model, network=student, network_name=entry.name, network_config=config, structure={}
            )
            this = dataclasses.replace(recipe, epochs=step.epochs, schedule=ScheduleConfig("one_cycle"))
        make = partial(Distilled, teacher=teacher.network, temperature=step.temperature, soft_weight=step.soft_weight)
        self._retrain(number, 0, model, this, lambda network: make(constrained_copy(network)))
        return model

    def _retrain(
        self,
        number: int,
        part: int,
        model: Model,
        recipe: Recipe,
        make_trainee: Callable[[nn.Module], nn.Module] = constrained_copy,
    ) -> None:
        run_dir = self._run_dir(number, part)
        retrain(model, self.images, recipe, run_dir, make_trainee=make_trainee, observer=self.observer())

    def _run_dir(self, number: int, part: int) -> Path:
        folder = self.folder / f"{number}-{part}"
        folder.mkdir(exist_ok=True)
        return folder


def recipe_of(recipe: Recipe | None) -> Recipe:
    """The recipe of a step that trains."""
    assert recipe is not None, "a step that trains was checked to have images"
    return recipe
