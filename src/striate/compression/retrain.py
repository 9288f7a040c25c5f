"""Retraining after a step of compression, by the training loop that made the model."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from striate.compression.constraints import constrained_copy, take_weights
from striate.compression.distil import Distilled
from striate.compression.images import CompressionImages
from striate.data.augmentation_settings import Augmentation
from striate.errors import InputError, RunError
from striate.tasks.model import Model
from striate.training.checkpoints import has_checkpoints
from striate.training.loader import Loader
from striate.training.loop import train_network
from striate.training.observer import Observer
from striate.training.recipe import OptimizerConfig, Recipe, ScheduleConfig

GENTLE_RATE = 0.01
"""Peak rate of SGD where nothing is known of how the model was trained."""
_BEST = "best.safetensors"
_LOGS = ("lightning_fabric", "lightning_fabric.utilities.rank_zero", "lightning_fabric.utilities.distributed")


def base_recipe(model: Model, images: CompressionImages) -> Recipe:
    """The recipe that the model was trained by, as far as its file tells, made fit for training all of it further; else
    a gentle one.
    """
    batch_size = max(1, min(64, len(images.train)))
    gentle = Recipe(
        network=model.network_name,
        epochs=1,
        batch_size=batch_size,
        optimizer=OptimizerConfig("nesterov", learning_rate=GENTLE_RATE, weight_decay=1e-4),
        augmentation=Augmentation(),
    )
    try:
        recipe = Recipe.from_json(model.provenance["recipe"])
    except (KeyError, TypeError, InputError):
        return gentle
    optimizer = recipe.optimizer
    if optimizer.name in ("muon", "lbfgs"):  # an orthogonal update has no zeros, and neither bears masks
        optimizer = gentle.optimizer
    return dataclasses.replace(
        recipe,
        epochs=1,
        batch_size=min(recipe.batch_size, len(images.train)),
        optimizer=optimizer,
        freeze="nothing",
        views=0,
        layer_rate_factor=1.0,
        weights=None,
        use_compile=False,
        use_cuda_graphs=False,
        ema_decay=0.0,
        stream_images=0,
    )


def with_rate(recipe: Recipe, *, epochs: int, rate_factor: float, schedule: str = "cosine") -> Recipe:
    """The recipe for so many epochs at so much of its rate."""
    optimizer = dataclasses.replace(recipe.optimizer, learning_rate=recipe.optimizer.learning_rate * rate_factor)
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        optimizer=optimizer,
        schedule=ScheduleConfig("cosine") if schedule == "cosine" else ScheduleConfig("constant"),
    )


def retrain(
    model: Model,
    images: CompressionImages,
    recipe: Recipe,
    run_dir: Path,
    *,
    make_trainee: Callable[[nn.Module], nn.Module] = constrained_copy,
    observer: Observer | None = None,
) -> None:
    """Train the model's network further, in place, keeping the best epoch by validation: by default zeros stay zeros
    and shared weights equal.

    `make_trainee(network)` gives the copy that is trained, whose modules have the names of the network's.

    `run_dir` holds the checkpoints, from which a training that was stopped goes on bit for bit. Raises InputError where
    there is nothing to train on, RunError when it was asked to stop, and as `train_network` does.
    """
    if not images.can_train:
        raise InputError(f"{images.source} has no training and validation part, so nothing can be retrained on it")
    trainee = make_trainee(model.network)
    best: dict[str, Tensor] = {}

    def keep(weights: dict[str, Tensor], _epoch: int, _record: dict[str, Any]) -> None:
        best.clear()
        best.update(
            {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in weights.items()}
        )
        save_file(best, run_dir / _BEST)

    loader = Loader(images.packed, images.annotations, images.train, images.validation, model.preprocessing, model.task)
    with _threads(recipe.num_threads):
        result = train_network(
            trainee,
            recipe,
            loader,
            run_dir,
            fabric=_fabric(model.device, recipe.precision),
            resume=has_checkpoints(run_dir / "checkpoint"),
            use_checks=False,
            on_best=keep,
            observer=observer,
        )
    if result.status != "finished":
        raise RunError(f"stopped; the same command goes on from {run_dir}")
    if not best:
        best.update(load_file(run_dir / _BEST))
    trainee.load_state_dict(best)
    trainee.to(model.device)
    take_weights(model.network, trainee.student if isinstance(trainee, Distilled) else trainee)


def _fabric(device: torch.device, precision: Any) -> Fabric:
    logs = [logging.getLogger(name) for name in _LOGS]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.WARNING)
    try:
        fabric = Fabric(accelerator={"cuda": "gpu"}.get(device.type, device.type), devices=1, precision=precision)
        fabric.launch()
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
    return fabric


@contextlib.contextmanager
def _threads(num_threads: int) -> Iterator[None]:
    """Compute with so many threads; 0 leaves their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
