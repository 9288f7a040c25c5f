"""Real images to measure and compare engines on: the user's, or parts of two photos that come with scikit-learn."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from striate.data.dataset import Dataset
from striate.data.decoding import decode_image
from striate.data.opening import Access, scan_source
from striate.data.parallel import num_processors, prefetch
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError, InputError
from striate.progress import Log
from striate.tasks.catalogue import USUAL_TASK, make_task
from striate.tasks.predictions import PredictionError, name_images, read_pixels
from striate.tasks.task import Task

BUILT_IN = "32 parts of scikit-learn's china.jpg and flower.jpg"
_PHOTOS = ("china.jpg", "flower.jpg")
_SHARES = (1.0, 0.7, 0.5, 0.35)
"""Of the photo's sides."""
_PLACES = (0.0, 0.3, 0.7, 1.0)
_MOST_NAMES = 100_000
"""Images of a folder without classes are chosen among the first so many."""


@dataclass(frozen=True, eq=False)
class Samples:
    """`pixels` (N, H, W, C) uint8 as the network's preprocessing crops them, and where they come from in words.

    `labels` (N,) int64 are classes of the model's `task`, where they are known.
    """

    pixels: np.ndarray
    description: str
    is_own: bool
    labels: np.ndarray | None = None
    task: Task = field(default_factory=partial(make_task, USUAL_TASK, ()))

    def at(self, places: np.ndarray) -> "Samples":
        """Those at these places, (n,) int64."""
        labels = None if self.labels is None else self.labels[places]
        return replace(self, pixels=self.pixels[places], labels=labels)


def built_in_samples(preprocessing: Preprocessing, task: Task) -> Samples:
    """32 parts of two photos, of several sizes. InputError where scikit-learn's photos are missing."""
    parts = []
    for name in _PHOTOS:
        photo = decode_image(_photo(name), 3)
        for share in _SHARES:
            parts += [_part(photo, share, place) for place in _PLACES]
    channels = preprocessing.channels
    if channels not in (1, 3):
        raise InputError(f"there are no built-in photos with {channels} channels; name a SOURCE of images")
    pixels = [preprocessing.to_pixels(decode_image(part, channels)) for part in parts]
    return Samples(np.stack(pixels), BUILT_IN, is_own=False, task=task)


def own_samples(
    source: str | Path,
    preprocessing: Preprocessing,
    task: Task,
    *,
    most: int,
    access: Access | None = None,
) -> Samples:
    """Up to `most` images of a source, evenly spread over it; any folder of images serves.

    Unreadable images are left out. DataError or InputError where the source cannot be read or none of its images can.
    """
    access = access or Access()
    try:
        dataset = scan_source(source, access)
    except DataError:
        if not os.path.isdir(source):
            raise
        return _from_folder(Path(source), preprocessing, task, most)
    indices = _spread(len(dataset), most)
    read = [_dataset_pixels(dataset, int(index), preprocessing) for index in indices]
    kept = [place for place, pixels in enumerate(read) if pixels is not None]
    pixels = _stack([pixels for pixels in read if pixels is not None], str(source))
    labels = _labels(dataset, task.class_names, access.log)
    labels = None if labels is None else labels[indices[kept]]
    return Samples(pixels, str(source), is_own=True, labels=labels, task=task)


def _from_folder(folder: Path, preprocessing: Preprocessing, task: Task, most: int) -> Samples:
    named = list(islice(name_images(folder), _MOST_NAMES))
    chosen = [named[index] for index in _spread(len(named), most)]
    thunks = (partial(read_pixels, name, image, preprocessing) for name, image in chosen)
    with closing(prefetch(thunks, depth=2 * num_processors(), num_workers=num_processors())) as read:
        pixels = [each[1] for each in read if not isinstance(each, PredictionError)]
    return Samples(_stack(pixels, str(folder)), str(folder), is_own=True, task=task)


def _dataset_pixels(dataset: Dataset, index: int, preprocessing: Preprocessing) -> np.ndarray | None:
    try:
        return preprocessing.to_pixels(decode_image(dataset.images.read(index), preprocessing.channels))
    except (InputError, OSError):
        return None


def _labels(dataset: Dataset, class_names: tuple[str, ...], log: Log) -> np.ndarray | None:
    """The label of each image as an output index of the model; None, and told, where the model has other classes."""
    from striate.tasks.labels import map_labels  # imports torch, as whoever measures has done

    try:
        return map_labels(dataset, class_names, log=log)
    except DataError as error:
        log(f"no accuracy, as the labels are not the model's: {error}")
        return None


def _stack(pixels: list[np.ndarray], source: str) -> np.ndarray:
    if not pixels:
        raise DataError(f"{source} holds no image that can be read; name another SOURCE")
    return np.stack(pixels)


def _spread(count: int, most: int) -> np.ndarray:
    """At most `most` of the indices 0 to `count` - 1, evenly spread."""
    return np.unique(np.linspace(0, max(0, count - 1), min(count, most)).round().astype(np.int64))


def _photo(name: str) -> bytes:
    """The file of a photo of scikit-learn's, found without importing that for a second."""
    spec = find_spec("sklearn")
    folders: Iterator[str] = iter(spec.submodule_search_locations or () if spec else ())
    for folder in folders:
        path = Path(folder) / "datasets" / "images" / name
        if path.is_file():
            return path.read_bytes()
    raise InputError(f"scikit-learn's photo {name} is missing; install scikit-learn, or name a SOURCE of images")


def _part(photo: np.ndarray, share: float, place: float) -> np.ndarray:
    height, width = (round(share * side) for side in photo.shape[:2])
    top, left = round(place * (photo.shape[0] - height)), round(place * (photo.shape[1] - width))
    part = photo[top : top + height, left : left + width]
    return np.ascontiguousarray(part[:, ::-1] if place in (0.3, 1.0) else part)
