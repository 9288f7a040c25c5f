"""Predictions with what tells how far to believe them: sets of classes, unfamiliar images flagged, answers averaged
over views.
"""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from striate.data.parallel import prefetch
from striate.errors import InputError
from striate.evaluation.conformal import ConformalFit, conformal_sets
from striate.evaluation.familiarity import FamiliarityFit, features_and_logits
from striate.evaluation.test_time_augmentation import Averaged
from striate.evaluation.views import IMAGE_VIEWS, view_function
from striate.networks.restore import evaluating
from striate.progress import Log, log_nothing
from striate.tasks.classification.logits import class_logits
from striate.tasks.classification.predictions import Prediction, class_answers
from striate.tasks.model import Model
from striate.tasks.predictions import (
    ImageLike,
    PredictionError,
    ReadImage,
    in_batches,
    name_images,
    read_image,
    read_picture,
)

USUAL_LEVEL = 0.05
"""Fraction of usual images that may be called unfamiliar."""


@dataclass(frozen=True)
class TrustRequest:
    """What predictions are given beside their classes: sets by `conformal`, familiarity at a `level`, an average over
    views.

    InputError for a level outside (0, 1), or sets with averaged answers, which they were not calibrated for.
    """

    conformal: ConformalFit | None = None
    familiarity: FamiliarityFit | None = None
    level: float = USUAL_LEVEL
    average: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise InputError(f"the level of unfamiliar images must lie between 0 and 1 but is {self.level:g}")
        if self.conformal is not None and self.average is not None:
            raise InputError(
                "sets are calibrated for plain answers, not for averaged ones; leave --average or --coverage out"
            )


def predict_trusted(
    model: Model,
    images: ImageLike | Iterable[ImageLike],
    request: TrustRequest,
    *,
    top: int = 5,
    batch_size: int = 32,
    log: Log = log_nothing,
) -> Iterator[Prediction | PredictionError]:
    """What a classifier says of each image, with `class_set` and `familiarity` where they are asked for, in the order
    given.

    PyTorch computes, in float32. Memory does not grow with the number of images. InputError for a model of another
    task.

    `request` says what is asked for: sets of a coverage, flags for unfamiliar images, or an average over views; the
    `top` most probable classes are given.
    """
    if not model.task.has_probabilities:
        raise InputError(f"this needs probabilities of classes, and the model is for {model.task.name}")
    if top < 1 or batch_size < 1:
        raise InputError(f"top and batch_size must be at least 1 but are {top} and {batch_size}")
    named = name_images(images, log=log)
    if request.average in IMAGE_VIEWS:
        yield from _predict_views(model, named, request, top)
        return
    network = model.network if request.average is None else Averaged(model.network, request.average)
    thunks = (partial(read_image, name, image, model.preprocessing) for name, image in named)
    with closing(prefetch(thunks, depth=2 * batch_size, num_workers=4)) as pixels:
        for batch in in_batches(pixels, batch_size):
            read = [each for each in batch if isinstance(each, ReadImage)]
            answers = iter(_answer(model, network, read, request, top)) if read else iter(())
            for each in batch:
                yield each if isinstance(each, PredictionError) else next(answers)


def _answer(
    model: Model, network: torch.nn.Module, read: list[ReadImage], request: TrustRequest, top: int
) -> list[Prediction | PredictionError]:
    """The predictions for a batch of readable images."""
    pixels = torch.from_numpy(np.stack([each.pixels for each in read])).permute(0, 3, 1, 2).to(model.device)
    images = model.pixel_model.inputs(pixels)  # once for both passes
    features = logits = None
    with evaluating(network), torch.no_grad():
        if request.familiarity is not None:
            features, logits = features_and_logits(model.network, images, request.familiarity.layer)
        needs_run = logits is None or request.average is not None
        own = class_logits(network(images)).float().cpu() if needs_run else torch.from_numpy(logits)
    probabilities = (own / model.temperature).softmax(dim=1).numpy()
    is_sound = np.isfinite(probabilities).all(axis=1)
    names = [each.name for each in read]
    found = class_answers(names, np.where(is_sound[:, None], probabilities, 0), model.class_names, top)
    found = _with_sets(found, probabilities, model, request)
    if request.familiarity is not None and features is not None and logits is not None:
        usual = request.familiarity.familiarity(features, logits, request.level)
        found = [replace(each, familiarity=own) for each, own in zip(found, usual, strict=True)]
    return [
        each if sound else PredictionError(each.path, "makes the network answer NaN; its weights may be damaged")
        for each, sound in zip(found, is_sound.tolist(), strict=True)
    ]


def _with_sets(
    found: list[Prediction], probabilities: np.ndarray, model: Model, request: TrustRequest
) -> list[Prediction]:
    if request.conformal is None:
        return found
    sets = conformal_sets(probabilities, request.conformal.threshold, request.conformal.method)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    return [
        replace(each, class_set=tuple(model.class_names[k] for k in ranked if chosen[k]))
        for each, chosen, ranked in zip(found, sets, order, strict=True)
    ]


def _predict_views(
    model: Model, named: Iterable[tuple[str, ImageLike]], request: TrustRequest, top: int
) -> Iterator[Prediction | PredictionError]:
    """Images one by one, each averaged over its views."""
    assert request.average is not None
    if request.familiarity is not None:
        raise InputError("unfamiliar images are flagged by plain answers; leave --average or --flag-unfamiliar out")
    averaged = view_function(model, request.average)
    for name, image in named:
        picture = read_picture(name, image, model.preprocessing.channels)
        if isinstance(picture, PredictionError):
            yield picture
            continue
        yield class_answers([name], averaged(picture), model.class_names, top)[0]
