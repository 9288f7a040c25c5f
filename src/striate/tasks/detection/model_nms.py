"""A detector with another suppression of overlapping boxes."""

import dataclasses

from striate.errors import InputError
from striate.tasks.detection.task import Detection
from striate.tasks.model import Model


def with_nms(model: Model, nms: str) -> Model:
    """The same model, its network shared, whose overlapping boxes are put down ("hard") or lowered in score ("soft").

    InputError for another word, and for a model that finds no objects.
    """
    if not isinstance(model.task, Detection):
        raise InputError(f"suppression is of boxes that a detector finds, and this model is for {model.task.name}")
    return dataclasses.replace(model, task=dataclasses.replace(model.task, nms=nms))
