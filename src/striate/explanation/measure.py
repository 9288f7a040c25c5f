"""How far a model's explanations can be trusted: the sanity check, and deletion and insertion curves over many
images.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.data.parallel import prefetch
from striate.errors import InputError
from striate.explanation.curves import Curves, deletion_and_insertion, edge_map, random_map, summarise
from striate.explanation.layers import default_layer
from striate.explanation.methods import Method, find_methods
from striate.explanation.resizing import enlarge
from striate.explanation.sanity import SanityCheck, check_sanity
from striate.explanation.scores import logits_of
from striate.networks.restore import evaluating
from striate.progress import Log, Track, log_nothing, track_silently
from striate.tasks.model import Model
from striate.tasks.predictions import ImageLike, PredictionError, in_batches, name_images, read_pixels

_NUM_WORKERS = 2
_MOST_CHECKED = 8
RANDOM, EDGES = "random", "edges"


def check_explanations(
    model: Model,
    images: ImageLike | Iterable[ImageLike],
    *,
    methods: Sequence[str],
    layer: str | None = None,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> list[SanityCheck]:
    """The sanity check of each method on up to eight images, for the class that the model answers. InputError where
    none can be read.
    """
    batch = next(read_inputs(model, images, _MOST_CHECKED, log), None)
    if batch is None:
        raise InputError("none of the images can be read, so there is nothing to check on")
    inputs, labels = batch
    found = _usable(model, find_methods(methods), inputs, labels, layer, log)
    return check_sanity(model.network, inputs, labels, found, layer=layer, track=track)


def measure_curves(
    model: Model,
    images: ImageLike | Iterable[ImageLike],
    *,
    methods: Sequence[str],
    layer: str | None = None,
    batch_size: int = 16,
    num_steps: int = 16,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> list[dict[str, Any]]:
    """Deletion and insertion areas of each method over all images with 95 % intervals, for the class that the model
    answers, and those of noise and of edges beside them; see curves.summarise. InputError where no image can be read.
    """
    found: list[Method] | None = None
    curves: dict[str, list[Curves]] = {}
    named = list(name_images(images))
    batches = read_inputs(model, (image for _, image in named), batch_size, log)
    for number, (inputs, labels) in enumerate(track(batches, "measuring batches", -(-len(named) // batch_size))):
        if found is None:
            found = _usable(model, find_methods(methods), inputs, labels, layer, log)
            layer = layer or (default_layer(model.network, inputs) if any(each.takes_layer for each in found) else None)
        planes = {RANDOM: random_map(inputs, seed=number), EDGES: edge_map(inputs)}
        planes |= {method.name: planes_of(method, model, inputs, labels, layer) for method in found}
        for name, plane in planes.items():
            measured = deletion_and_insertion(model.network, inputs, plane, labels, num_steps=num_steps)
            curves.setdefault(name, []).append(measured)
    if not curves:
        raise InputError("none of the images can be read, so there is nothing to measure on")
    return [summarise(name, measured) for name, measured in curves.items()]


def read_inputs(
    model: Model, images: ImageLike | Iterable[ImageLike], batch_size: int, log: Log
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of normalised images (n, C, H, W) and the classes (n,) that the model answers; unreadable ones are told
    and left out.
    """
    thunks = (partial(read_pixels, name, image, model.preprocessing) for name, image in name_images(images))
    with closing(prefetch(thunks, depth=2 * batch_size, num_workers=_NUM_WORKERS)) as each_image:
        for batch in in_batches(each_image, batch_size):
            for each in batch:
                if isinstance(each, PredictionError):
                    log(f"left out {each.path}: {each.reason}")
            pixels = [each[1] for each in batch if isinstance(each, tuple)]
            if pixels:
                inputs = as_inputs(model, pixels)
                with evaluating(model.network), torch.no_grad():
                    yield inputs, logits_of(model.network(inputs)).argmax(dim=1)


def as_inputs(model: Model, pixels: Sequence[np.ndarray]) -> Tensor:
    """Pixels (H, W, C) uint8 of images -> what the network takes, (n, C, H, W) float32: every method explains that."""
    return model.pixel_model.inputs(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(model.device))


def planes_of(method: Method, model: Model, inputs: Tensor, labels: Tensor, layer: str | None) -> Tensor:
    """Maps (n, H, W) of the size of the images, channels made one as they are shown."""
    options: dict[str, Any] = {"layer": layer} if method.takes_layer else {}
    maps = method.run(model.network, inputs, classes=labels, **options).cpu()
    planes = torch.from_numpy(np.stack([method.to_plane(each) for each in maps.numpy()]))
    return enlarge(planes, inputs.shape[2:]) if planes.shape[1:] != inputs.shape[2:] else planes


def _usable(
    model: Model, methods: Sequence[Method], inputs: Tensor, labels: Tensor, layer: str | None, log: Log
) -> list[Method]:
    """The methods that this network can be explained by, tried on one image; `log` hears which cannot and why."""
    found, reason = [], None
    for method in methods:
        try:
            options: dict[str, Any] = {"layer": layer} if method.takes_layer else {}
            if not method.is_slow:
                method.run(model.network, inputs[:1], classes=labels[:1], **options)
            found.append(method)
        except InputError as error:
            reason = error
            log(f"left out {method.name}: {error}")
    if not found and reason is not None:
        raise reason
    return found
