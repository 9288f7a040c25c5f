"""The description of a run: run.json, splits.json, and the line that shows its settings."""

import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from striate.data.dataset import SPLITS, Dataset
from striate.data.opening import Access
from striate.data.sketch import make_sketch
from striate.data.splits import digest
from striate.networks.given import EXTERNAL, digest_of
from striate.processor import processor
from striate.recipes.changed_versions import pixels_of
from striate.recipes.mode_choice import ModeChoice
from striate.recipes.prepare import Prepared
from striate.recipes.run_folder import FORMAT, SPLITS_FILE
from striate.recipes.versions import PACKAGES, installed_versions
from striate.tasks.model import gpu_name
from striate.training.distributed.launch import Rank, launch_identity, rendezvous_folder
from striate.version import __version__


def describe_run(
    prepared: Prepared,
    access: Access,
    fabric: Fabric,
    started_at: datetime,
    run_checks: bool,
    mode: ModeChoice | None,
    has_shared_out_weights: bool,
) -> dict[str, Any]:
    """The first run.json."""
    dataset, recipe, packed = prepared.data.dataset, prepared.recipe, prepared.packed
    versions = installed_versions((*PACKAGES, "timm") if prepared.entry.family == "timm" else PACKAGES)
    data_notices = [*dataset.notices, *prepared.splits.notices]
    is_given = prepared.entry.name == EXTERNAL
    config = asdict(prepared.entry.config) | {
        "in_channels": prepared.preprocessing.channels,
        "num_classes": prepared.task.num_outputs(recipe.output),
    }
    return {
        "format": FORMAT,
        "striate": versions.pop("striate"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "source": _lasting_source(dataset),
        "recipe": recipe.to_json(),
        "seed": recipe.seed,
        "network": {
            "name": prepared.entry.name,
            "config": config,
            "num_params": sum(param.numel() for param in prepared.network.parameters()),
            **({"label": prepared.entry.title, "start": digest_of(prepared.network)} if is_given else {}),
        },
        "task": {"name": prepared.task.name, "settings": prepared.task.settings()},
        "class_names": list(prepared.task.class_names),
        "preprocessing": prepared.preprocessing.to_json(),
        "data": {
            "fingerprint": prepared.data.fingerprint,
            "pixels": pixels_of(prepared),
            "data_dir": None if access.data_dir is None else str(Path(access.data_dir).absolute()),
            "max_pixels": access.max_pixels,
            "columns": access.columns.to_json() if access.columns else None,
            "ignore_index": access.ignore_index,
            "edits": prepared.data.edits.to_json() if prepared.data.edits else None,
            "train_sketch": make_sketch(prepared.data.hashes[prepared.splits.train]),
            "num_images": len(dataset),
            "counts": {name: _count_classes(prepared, name) for name in SPLITS},
            "broken": [[dataset.images.name(index), reason] for index, reason in packed.broken.items()],
            "splits": {
                "file": SPLITS_FILE,
                "digest": digest(prepared.splits),
                "seed": recipe.seed,
                "validation_fraction": recipe.validation_fraction,
                "test_fraction": recipe.test_fraction,
                "group_by": recipe.group_by,
                "num_folds": recipe.num_folds,
                "fold": recipe.fold,
            },
            "notices": data_notices,
        },
        "versions": versions,
        "machine": {
            "system": platform.platform(),
            "processor": processor()[0],
            "device": fabric.device.type,
            "gpu": gpu_name(fabric.device) or None,
            "threads": torch.get_num_threads(),
            "processes": fabric.world_size,
            "has_shared_out_weights": has_shared_out_weights,
            "devices": None if rendezvous_folder() is None else fabric.world_size,
        },
        "mode": None if mode is None else mode.to_json(),
        "launch": launch_identity(),
        "checks": [] if run_checks else None,
        "notices": [line for line in prepared.notices if line not in data_notices],
        "status": "running",
        "started_at": started_at.isoformat(timespec="seconds"),
        "elapsed_s": 0.0,
        "best": None,
    }


def _count_classes(prepared: Prepared, split: str) -> dict[str, int]:
    return prepared.task.image_counts(prepared.annotations, prepared.splits[split])


def split_names(prepared: Prepared) -> dict[str, list[str]]:
    """Names of the images of every split."""
    name = prepared.data.dataset.images.name
    return {split: [name(int(index)) for index in prepared.splits[split]] for split in SPLITS}


def _lasting_source(dataset: Dataset) -> str:
    """The source as it can be found again from any folder: a name stays, a path becomes absolute."""
    path = Path(dataset.source)
    return os.path.abspath(path) if path.exists() else dataset.source


def summary_line(prepared: Prepared, device: torch.device) -> str:
    """The choices of a run in one line."""
    recipe, splits = prepared.recipe, prepared.splits
    size = "x".join(map(str, (prepared.preprocessing.channels, *prepared.preprocessing.crop_size)))
    sizes = " + ".join(f"{len(splits[name]):,} {name}" for name in SPLITS if len(splits[name]))
    epochs = f"{recipe.epochs} epoch" + "s" * (recipe.epochs != 1)
    frozen = {"nothing": "", "base": ", head only", "lower": ", upper third only", "gradual": ", gradually unfrozen"}[
        recipe.freeze
    ]
    arithmetic = {"bf16-mixed": ", bfloat16", "16-mixed": ", float16"}.get(recipe.precision, "")
    arithmetic += ", compiled" * recipe.use_compile + ", CUDA graphs" * recipe.use_cuda_graphs
    attacked = f", {recipe.adversarial} adversarial training at {recipe.adversarial_epsilon:.4g}"
    arithmetic += attacked * (recipe.adversarial != "none")
    on_gpu = f", on {gpu_name(device)}" if device.type == "cuda" else ""
    changes = [name for name, value in asdict(recipe.augmentation).items() if value]
    name = f"{prepared.entry.title} ({EXTERNAL})" if recipe.network == EXTERNAL else recipe.network
    return (
        f"{name} at {size}{frozen} on {sizes} images of {len(prepared.task.class_names)} classes: "
        f"{epochs} in batches of {recipe.batch_size}, {recipe.optimizer.name} at {recipe.optimizer.learning_rate:.3g}, "
        f"{recipe.schedule.name}{arithmetic}{on_gpu}; augmentation: {', '.join(changes) or 'none'}"
    )


def processes_lines(prepared: Prepared, place: Rank) -> list[str]:
    """Lines on how several processes divide the work, and where that differs from one process; none for one."""
    if place.world_size == 1:
        return []
    recipe, num_train = prepared.recipe, len(prepared.splits.train)
    on = f" on {place.num_nodes} machines" if place.num_nodes > 1 else ""
    lines = [
        f"{place.world_size} processes{on} share each batch of {recipe.batch_size} images and train what one would"
    ]
    left_over = num_train % recipe.batch_size
    if 2 <= left_over < min(place.world_size, recipe.batch_size):
        lines.append(
            f"the last {left_over} images of an epoch are too few for {place.world_size} processes and join the batch "
            "before, which one process would not do"
        )
    return lines


def what_must_agree(prepared: Prepared) -> dict[str, Any]:
    """The values that every process must agree on, by name."""
    return {
        "images": f"{len(prepared.data.dataset):,} images with fingerprint {prepared.data.fingerprint[:12]}",
        "splits": f"{len(prepared.splits.train):,} training images, digest {digest(prepared.splits)[:12]}",
        "striate": __version__,
        "torch": torch.__version__,
        "preprocessing": json.loads(json.dumps(prepared.preprocessing.to_json())),
        **json.loads(json.dumps(prepared.recipe.to_json())),
    }
