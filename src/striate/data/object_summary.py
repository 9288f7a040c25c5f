"""How many objects of each class a source has, and in how many images. N images."""

from typing import Any

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.objects import Objects

UNASSIGNED = "unassigned"


def object_facts(dataset: Dataset, objects: Objects, flaws: tuple[str, ...]) -> dict[str, Any]:
    """What a summary says of objects."""
    return {
        "objects_per_class": {
            split: _by_name(objects, objects.labels[among[objects.images] & ~objects.are_ignored])
            for split, among in _splits_of(dataset)
        },
        "num_empty": len(dataset) - len(np.unique(objects.images)),
        "num_ignored": int(objects.are_ignored.sum()),
        "flaws": flaws,
    }


def count_images_with(dataset: Dataset, objects: Objects) -> dict[str, dict[str, int]]:
    """Split -> class -> number of images with an object of it."""
    real = ~objects.are_ignored & (objects.labels >= 0)
    pairs = np.unique(np.stack([objects.images[real], objects.labels[real]]), axis=1)
    return {split: _by_name(objects, pairs[1][among[pairs[0]]]) for split, among in _splits_of(dataset)}


def _by_name(objects: Objects, labels: np.ndarray) -> dict[str, int]:
    numbers = np.bincount(labels[labels >= 0], minlength=len(objects.class_names))
    return {name: int(number) for name, number in zip(objects.class_names, numbers, strict=True)}


def _splits_of(dataset: Dataset) -> list[tuple[str, np.ndarray]]:
    """The splits that occur, each with the images that are in it, (N,) bool."""
    named = [*enumerate(SPLITS), (NO_SPLIT, UNASSIGNED)]
    among = [(name, dataset.given_splits == number) for number, name in named]
    return [(name, chosen) for name, chosen in among if chosen.any()]
