"""The tasks by name, and which of them a source is for. Nothing here imports torch."""

import difflib
from typing import Any

import numpy as np

from striate.data.dataset import Dataset
from striate.errors import DataError, InputError
from striate.tasks.classification.task import Classification
from striate.tasks.detection.task import Detection
from striate.tasks.localization.task import Localization
from striate.tasks.segmentation.task import Segmentation
from striate.tasks.task import Task

TASKS: dict[str, type[Task]] = {each.name: each for each in (Classification, Localization, Detection, Segmentation)}
USUAL_TASK = Classification.name
"""What is meant where files and callers name none."""


def make_task(name: str, class_names: tuple[str, ...], settings: dict[str, Any] | None = None) -> Task:
    """The task of this name for these classes. InputError where there is none such, or its settings are none of its
    own.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"the task must be one of {', '.join(TASKS)} but is {name!r}{hint}")
    try:
        return TASKS[name](class_names, **(settings or {}))
    except TypeError:
        raise InputError(f"{name} has no such settings: {', '.join(map(repr, settings or {}))}") from None


def task_of_network(kind: str, class_names: tuple[str, ...]) -> Task:
    """The task that networks of this `kind`, that of their entries, are for."""
    return next(each for each in TASKS.values() if each.network_kind == kind)(class_names)


def task_for(dataset: Dataset, wanted: str | None, loss: str | None = None) -> Task:
    """The task that a source is for: the one asked for, or the richest that its annotations suit; by the loss of this
    name.

    DataError where they do not suit, InputError for a loss or a task that there is not.
    """
    name = wanted or _told_by(dataset)
    task = make_task(name, TASKS[name].class_names_of(dataset) if name in TASKS else dataset.class_names)
    check_suits(task, dataset)
    return task.with_loss(loss)


def check_suits(task: Task | type[Task], dataset: Dataset) -> None:
    """Raise DataError where the annotations of a source are not those of the task."""
    if problem := task.problem_with(dataset):
        raise DataError(f"{dataset.source} cannot serve for {task.name}: {problem}")


def _told_by(dataset: Dataset) -> str:
    """The richest task that the annotations suit."""
    if not Segmentation.problem_with(dataset):
        return Segmentation.name
    if dataset.objects is not None and len(dataset.objects) > len(np.unique(dataset.objects.images)):
        return Detection.name
    return Classification.name if Localization.problem_with(dataset) else Localization.name
