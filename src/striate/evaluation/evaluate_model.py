"""Evaluate a model on a source: find the right images, match the labels by name, measure."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from striate.data.dataset import SPLITS, Dataset
from striate.data.edits import edits_from_json
from striate.data.image_groups import groups_to_keep_whole
from striate.data.opening import Access, OpenedData, edited, open_data, pack_data
from striate.data.packed import PreparedImages
from striate.data.readers.columns import Columns, columns_from_json
from striate.data.sketch import Overlap, overlap
from striate.data.splits import digest, split_dataset
from striate.errors import DataError, InputError
from striate.evaluation.evaluate_network import evaluate as evaluate_network
from striate.evaluation.test_time_augmentation import Averaged
from striate.evaluation.views import IMAGE_VIEWS, averaged_probabilities, views_of
from striate.notebook import Shown
from striate.tasks.classification.logits import tempered
from striate.tasks.labels import map_labels
from striate.tasks.model import Model, load_model
from striate.tasks.task import Annotations, Figures, Task

ALL = "all"
_TINY = 1e-12


@dataclass(frozen=True, repr=False)
class SourceEvaluation(Shown):
    """The figures of a model on one split of a source, at what temperature, and what the mistaken images are called."""

    source: str
    split: str
    evaluation: Figures
    mistake_names: tuple[str, ...]
    temperature: float = 1.0

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        own: Any = self.evaluation
        figures = own.facts()[1] if isinstance(own, Shown) else ()
        return "striate evaluation", (("source", self.source), ("part", self.split), *figures)

    @property
    def top1_accuracy(self) -> float:
        """The fraction of images whose most probable class is right, as `Run.evaluation` has it."""
        figures: Any = self.evaluation  # a task without classes has none
        return float(figures.top1_accuracy)

    def to_json(self) -> dict[str, Any]:
        """Plain values: source, split, temperature, and the figures as Evaluation names them."""
        values = self.evaluation.to_json()
        for mistake, name in zip(values["mistakes"], self.mistake_names, strict=True):
            mistake["name"] = name
        return {"source": self.source, "split": self.split, "temperature": self.temperature, **values}


@dataclass(frozen=True)
class Part:
    """Images of a source for a model to answer: `indices` of `packed`, of the split called `split`, with the
    `annotations` of all images, whose labels are outputs of the model. `is_own`: they are those of its own training
    run. `known`: for another source, how many of them the model was trained on, as far as it can tell. `hashes` (N, 16)
    are those of all images.
    """

    dataset: Dataset
    packed: PreparedImages
    split: str
    indices: np.ndarray
    annotations: Annotations
    is_own: bool
    known: Overlap | None = None
    hashes: np.ndarray = field(default_factory=lambda: np.zeros((0, 16), np.uint8))

    @property
    def labels(self) -> np.ndarray:
        """(N,) the class of each image."""
        return self.annotations.labels


@dataclass(frozen=True)
class Parts:
    """All images of a source: indices of `packed` by split ("train", "validation", "test", "all"; empty where there are
    none), and what else `Part` has.
    """

    dataset: Dataset
    packed: PreparedImages
    parts: dict[str, np.ndarray]
    annotations: Annotations
    is_own: bool
    hashes: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """(N,) the class of each image."""
        return self.annotations.labels


def evaluate(
    model: Model | str | Path,
    source: str | Path | None = None,
    *,
    split: str | None = None,
    average: str | None = None,
    batch_size: int = 256,
    access: Access | None = None,
) -> SourceEvaluation:
    """Figures of a model, or of what `load_model` takes for one, on a source; without one, on the data it was trained
    on.

    On the data of its own training the run's splits are made again, and `split` is "test" unless said otherwise
    ("validation" where there was no test part). Another source's own splits are respected, "test" before "validation";
    one without splits is used whole, which "all" asks for anywhere. `average` ("mirror", "six", "ten_crop" or
    "five_scales") averages the answers over views of each image, see evaluation.test_time_augmentation and
    evaluation.views. Labels are matched by class name.
    Raises DataError for classes that the model does not know, for a split without images, and for training data that
    have changed since.
    """
    access = access or Access()
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1 but is {batch_size}")
    if not isinstance(model, Model):
        model = load_model(model, log=access.log)
        model.network.to(memory_format=torch.channels_last)  # a fifth to a half faster on a CPU; it is nobody else's
    if average is not None:
        if not model.task.has_probabilities:
            raise InputError(
                f"views are averaged in classification only but this model is for {model.task.name}; leave it out"
            )
        if average in IMAGE_VIEWS:  # refused before anything slow
            views_of(model, average)
        else:
            Averaged(model.network, average)
    part = choose_part(model, source, split, access, prefer=("test", "validation"))
    if average in IMAGE_VIEWS:
        evaluation = _over_views(model, part, average, access)
        names = tuple(part.dataset.images.name(mistake.index) for mistake in evaluation.mistakes)
        return SourceEvaluation(part.dataset.source, part.split, evaluation, names, model.temperature)
    network = tempered(model.network, model.temperature)
    evaluation = evaluate_network(
        network if average is None else Averaged(network, average),
        model.preprocessing,
        part.packed,
        part.indices,
        part.annotations,
        model.task,
        batch_size=batch_size,
        device=model.device,
        track=access.track,
    )
    names = tuple(part.dataset.images.name(mistake.index) for mistake in evaluation.mistakes)
    return SourceEvaluation(part.dataset.source, part.split, evaluation, names, model.temperature)


def _over_views(model: Model, part: Part, average: str, access: Access) -> Figures:
    """Figures of answers averaged over ten crops or five scales of each image."""
    indices = part.indices[part.packed.usable[part.indices]]
    if not len(indices):
        raise InputError("there is no readable image to evaluate on; name another split or source")
    data = OpenedData(part.dataset, part.hashes, "")
    probabilities = averaged_probabilities(model, data, indices, average, access=access)
    accumulator = model.task.accumulator()
    accumulator.update(
        torch.from_numpy(np.log(np.maximum(probabilities, _TINY))), torch.from_numpy(part.labels[indices])
    )
    return accumulator.result(indices)


def choose_part(
    model: Model, source: str | Path | None, split: str | None, access: Access, *, prefer: tuple[str, ...]
) -> Part:
    """The images of `split`, or of the first of `prefer` that has any, or all; decoded, with labels matched by name.

    Without a source those of the model's training. Raises as `evaluate` does.
    """
    if split is not None and split not in (*SPLITS, ALL):
        raise InputError(f"split must be one of {', '.join((*SPLITS, ALL))} but is {split!r}")
    opened = open_parts(model, source, access)
    split = split or next((name for name in prefer if len(opened.parts[name])), ALL)
    _warn_of_training_images(opened.dataset, split, own_data(model.provenance), opened.is_own, access)
    indices = opened.parts[split]
    if not len(indices):
        there_are = ", ".join(name for name, part in opened.parts.items() if len(part))
        raise DataError(f"{opened.dataset.source} has no images in its {split} part; there are: {there_are}")
    where = f"{opened.dataset.source} ({split})"
    known = None if opened.is_own else _known(opened.hashes[indices], own_data(model.provenance), where, access)
    return Part(opened.dataset, opened.packed, split, indices, opened.annotations, opened.is_own, known, opened.hashes)


def open_parts(model: Model, source: str | Path | None, access: Access) -> Parts:
    """All images of a source, or without one those of the model's training, decoded, with labels matched by name.

    Raises as `evaluate` does.
    """
    access = dataclasses.replace(access, task=model.task.name)
    trained_on = own_data(model.provenance)
    data = open_own(trained_on, access) if source is None else open_data(source, access)
    is_own = trained_on is not None and data.fingerprint == trained_on["fingerprint"]
    if is_own and trained_on and not data.edits:
        data = edited(data, edits_from_json(trained_on.get("edits")), access.log)
    if source is None and not is_own:
        raise DataError(
            f"{data.dataset.source} has changed since the model was trained on it, so its splits cannot be made again; "
            "name it as SOURCE to evaluate on it as it is"
        )
    if problem := model.task.problem_with(data.dataset):
        raise DataError(f"{data.dataset.source} cannot serve for {model.task.name}: {problem}")
    labels = None  # of many objects an image the task matches the classes itself
    if model.task.class_names_of(data.dataset) == data.dataset.class_names or data.dataset.objects is None:
        labels = map_labels(data.dataset, model.class_names, log=access.log)
    annotations = model.task.annotations(data.dataset, log=access.log, labels=labels, preprocessing=model.preprocessing)
    if is_own and trained_on:
        access = dataclasses.replace(access, max_pixels=trained_on["max_pixels"])  # the same images could be read then
    packed = pack_data(data, model.preprocessing, access)
    serves = model.task.usable(data.dataset) & data.is_kept
    parts = (
        _own_parts(data, packed.usable & serves, trained_on, model.task, access.columns)
        if is_own and trained_on
        else _given_parts(data.dataset)
    )
    parts = {name: indices[serves[indices]] for name, indices in parts.items()}
    return Parts(data.dataset, packed, parts, annotations, is_own, data.hashes)


def _known(hashes: np.ndarray, trained_on: dict[str, Any] | None, where: str, access: Access) -> Overlap | None:
    """How many of these images the model was trained on, as far as it remembers; said where it is any."""
    known = None if not trained_on else overlap(trained_on.get("train_sketch"), hashes)
    if known is not None and known.num_found:
        access.log(
            f"{known.num_found:,} of {known.num_told:,} images of {where} {'is' if known.num_found == 1 else 'are'} "
            "among those that the model was trained on, by their bytes: these figures flatter"
        )
    return known


def _warn_of_training_images(
    dataset: Dataset, split: str, trained_on: dict[str, Any] | None, is_own: bool, access: Access
) -> None:
    """Say so where the figures flatter, because the model was trained on these very images."""
    if is_own and split in ("train", ALL):
        access.log(f"the {split} part includes the images that the model was trained on: these figures flatter")
    elif not is_own and trained_on and _is_same_place(dataset.source, str(trained_on["source"])):
        access.log(
            f"{dataset.source} has changed since the model was trained on it, so images that it was trained on are "
            "among these: the figures flatter"
        )


def own_data(provenance: dict[str, Any]) -> dict[str, Any] | None:
    """What a model's provenance says of the data that a run of striate's trained it on; None where it says anything
    else.

    A provenance is any JSON object, and whoever wrote it may have meant something of their own by "data".
    """
    data = provenance.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("splits"), dict):
        return None
    settings = data["splits"]
    fits = (
        all(isinstance(data.get(key), str) and data[key] for key in ("source", "fingerprint"))
        and isinstance(data.get("data_dir"), str | None)
        and _is_number(data.get("max_pixels"), 1, 2**62, of=int)
        and isinstance(settings.get("digest"), str)
        and _is_number(settings.get("seed"), 0, 2**64, of=int)
        and all(_is_number(settings.get(f"{part}_fraction"), 0, 1) for part in ("validation", "test"))
        and isinstance(settings.get("group_by"), str | None)
        and all(_is_number(settings.get(name, 0), 0, 2**31, of=int) for name in ("num_folds", "fold"))
    )
    return data if fits and "\0" not in data["source"] else None


def _is_number(value: Any, low: float, high: float, *, of: Any = object) -> bool:
    return type(value) in (int, float) and isinstance(value, of) and low <= value <= high


def _is_same_place(source: str, other: str) -> bool:
    return source == other or (Path(source).exists() and Path(source).resolve() == Path(other).resolve())


def open_own(trained_on: dict[str, Any] | None, access: Access) -> OpenedData:
    """The data the model was trained on, found where they were then unless the caller says otherwise."""
    if not trained_on:
        raise InputError("this model does not say which data it was trained on; name a SOURCE to evaluate on")
    source = str(trained_on["source"])
    if Path(source).is_absolute() and not Path(source).exists():
        raise DataError(f"the model was trained on {source}, which is not there any more; name a SOURCE to evaluate on")
    access.log(f"reading {source}, which the model was trained on")
    data_dir = trained_on["data_dir"] if access.data_dir is None else access.data_dir
    columns = access.columns or columns_from_json(trained_on.get("columns"))
    ignore_index = trained_on.get("ignore_index") if access.ignore_index is None else access.ignore_index
    if not isinstance(ignore_index, int | None):
        raise InputError(f"the model's ignore_index is {ignore_index!r}, no whole number; name a SOURCE to evaluate on")
    asked = dataclasses.replace(
        access,
        data_dir=data_dir,
        columns=columns,
        ignore_index=ignore_index,
        edits=access.edits or edits_from_json(trained_on.get("edits")),
    )
    return open_data(source, asked)


def _own_parts(
    data: OpenedData, usable: np.ndarray, trained_on: dict[str, Any], task: Task, columns: Columns
) -> dict[str, np.ndarray]:
    """The splits of the training run, made again and compared with its digest."""
    settings = trained_on["splits"]
    groups, _ = groups_to_keep_whole(
        data.dataset, settings.get("group_by"), columns=columns or columns_from_json(trained_on.get("columns"))
    )
    splits = split_dataset(
        task.for_splits(data.dataset),
        data.hashes,
        usable,
        seed=settings["seed"],
        validation_fraction=settings["validation_fraction"],
        test_fraction=settings["test_fraction"],
        least_classes=task.least_classes,
        groups=groups,
        num_folds=settings.get("num_folds", 0),
        fold=settings.get("fold", 0),
    )
    if digest(splits) != settings["digest"]:
        raise DataError(
            f"the splits of {data.dataset.source} come out differently from those of the training run, perhaps because "
            "other images can be read here; name another SOURCE with its own test folder"
        )
    return {
        "train": splits.train,
        "validation": splits.validation,
        "test": splits.test,
        ALL: np.arange(len(data.dataset)),
    }


def _given_parts(dataset: Dataset) -> dict[str, np.ndarray]:
    parts = {name: np.flatnonzero(dataset.given_splits == number) for number, name in enumerate(SPLITS)}
    return {**parts, ALL: np.arange(len(dataset))}
