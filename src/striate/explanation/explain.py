"""Explain a model's answers for images from anywhere: which pixels speak for a class. N images, K classes."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from striate.data.parallel import prefetch
from striate.errors import InputError
from striate.explanation.layers import default_layer
from striate.explanation.measure import as_inputs
from striate.explanation.methods import Method, find_methods
from striate.explanation.scores import logits_of
from striate.networks.restore import evaluating
from striate.progress import Log, log_nothing
from striate.tasks.classification.class_lookup import find_class
from striate.tasks.classification.logits import top_classes
from striate.tasks.model import Model, load_model
from striate.tasks.predictions import ImageLike, PredictionError, in_batches, name_images, read_pixels
from striate.tasks.segmentation.region import as_region_classifier

_NUM_WORKERS = 2


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why an image is of a class, by one method: the raw map, (h, w) or (C, H, W) float32, of the network's own input.

    `pixels` (H, W, C) uint8 are what the network saw of the image at `path`. `layer` is that of a class activation map,
    else None. `seconds` is the map's part of the time that its batch took.
    """

    path: str
    class_name: str
    class_index: int
    probability: float
    method: Method
    layer: str | None
    map: np.ndarray
    pixels: np.ndarray
    seconds: float


def explain(
    model: Model | str | Path,
    images: ImageLike | Iterable[ImageLike],
    *,
    methods: Sequence[str] = ("grad_cam",),
    classes: Sequence[str | int] = (),
    top: int = 1,
    layer: str | None = None,
    batch_size: int = 16,
    log: Log = log_nothing,
) -> Iterator[list[Explanation] | PredictionError]:
    """The maps of each image, in order, by every method for every class; or why an image cannot be read.

    Classes are named, numbered, or the `top` most probable of each image. `layer` is where class activation maps are
    taken, by default the last spatial features, which `log` hears. Of several methods, those that cannot be used with
    this network are left out, and `log` hears why. Of a segmentation model a class's score is that of its region, see
    RegionLogits. Raises InputError for unknown names, and where no method can be used.

    `methods` are names of METHODS such as "grad_cam"; `classes` are names or numbers.
    """
    if top < 1 or batch_size < 1:
        raise InputError(f"top and batch_size must be at least 1 but are {top} and {batch_size}")
    if not isinstance(model, Model):
        model = load_model(model, log=log)
    if model.task.labels_pixels:
        model = as_region_classifier(model)
        log("a class's score is the mean logit over the pixels that are predicted to have it")
    if not model.task.has_probabilities:
        raise InputError(
            f"striate explain speaks of a classifier's classes and this model does {model.task.name}; from Python the "
            "functions of striate.explanation take as classes a function from its output to one score an image"
        )
    found = find_methods(methods)
    chosen = [find_class(str(name), model.class_names) for name in classes]
    return _explain_each(model, images, list(found), chosen, top, layer, batch_size, log)


def _explain_each(
    model: Model,
    images: ImageLike | Iterable[ImageLike],
    methods: list[Method],
    chosen: list[int],
    top: int,
    layer: str | None,
    batch_size: int,
    log: Log,
) -> Iterator[list[Explanation] | PredictionError]:
    thunks = (partial(read_pixels, name, image, model.preprocessing) for name, image in name_images(images))
    with closing(prefetch(thunks, depth=2 * batch_size, num_workers=_NUM_WORKERS)) as each_image:
        for batch in in_batches(each_image, batch_size):
            readable = [each for each in batch if isinstance(each, tuple)]
            explained: list[list[Explanation]] = []
            if readable:
                inputs = as_inputs(model, [pixels for _, pixels in readable])
                layer = layer or _layer_of(model, methods, inputs, log)
                explained = _explain_batch(model, readable, inputs, methods, chosen, top, layer, log)
            answers = iter(explained)
            yield from (each if isinstance(each, PredictionError) else next(answers) for each in batch)


def _layer_of(model: Model, methods: list[Method], inputs: Tensor, log: Log) -> str | None:
    """The default layer where a method needs one; those that do are left out where there is none, unless no other is
    left.
    """
    if not any(method.takes_layer for method in methods):
        return None
    try:
        layer = default_layer(model.network, inputs)
    except InputError as error:
        others = [method for method in methods if not method.takes_layer]
        if not others:
            raise
        methods[:] = others
        log(f"left out class activation maps: {error}")
        return None
    log(f"layer {layer}: the last spatial features (--layer names another)")
    return layer


def _explain_batch(
    model: Model,
    readable: list[tuple[str, np.ndarray]],
    inputs: Tensor,
    methods: list[Method],
    chosen: list[int],
    top: int,
    layer: str | None,
    log: Log,
) -> list[list[Explanation]]:
    """The explanations of each image of a batch: for every class, every method."""
    with (
        evaluating(model.network),
        torch.no_grad(),
    ):  # not through PixelModel: the methods need its inputs too, made once
        probabilities = (logits_of(model.network(inputs)).float() / model.temperature).softmax(dim=1).cpu()
    if not probabilities.isfinite().all():
        raise InputError("the network answers NaN or infinity; its weights may be damaged")
    labels = (
        torch.tensor(chosen).expand(len(inputs), -1) if chosen else top_classes(probabilities, top)[1]
    )  # (n, classes)
    explained: list[list[Explanation]] = [[] for _ in readable]
    for column in labels.T:
        for method in list(methods):
            started_at = time.perf_counter()
            maps = _maps_or_none(method, model, inputs, column, layer, methods, log)
            if maps is None:
                continue
            seconds = (time.perf_counter() - started_at) / len(inputs)
            for place, (name, pixels) in enumerate(readable):
                index = int(column[place])
                if not maps[place].any():
                    log(f"{method.name} of {name} for {model.class_names[index]} is zero everywhere")
                explained[place].append(
                    Explanation(
                        path=name,
                        class_name=model.class_names[index],
                        class_index=index,
                        probability=float(probabilities[place, index]),
                        method=method,
                        layer=layer if method.takes_layer else None,
                        map=maps[place],
                        pixels=pixels,
                        seconds=seconds,
                    )
                )
    return explained


def _maps_or_none(
    method: Method, model: Model, inputs: Tensor, labels: Tensor, layer: str | None, methods: list[Method], log: Log
) -> np.ndarray | None:
    """The maps of a batch, or None where the method cannot be used and others are left; then it is dropped from
    `methods`.
    """
    options = {"layer": layer} if method.takes_layer else {}
    try:
        fast = inputs.contiguous(memory_format=torch.channels_last)
        return method.run(model.network, fast, classes=labels, **options).cpu().numpy()
    except InputError as error:
        if len(methods) == 1:
            raise
        methods.remove(method)
        log(f"left out {method.name}: {error}")
        return None
