"""Many boxes an image, moved with its pixels. N images of the source, n of a batch, G boxes of the image that has most
of them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from striate.data.dataset import Dataset
from striate.data.geometry import Geometry, clip_boxes, move_boxes
from striate.data.objects import ANY_CLASS, Objects, flaws_in_words, image_sizes, settle
from striate.errors import DataError
from striate.progress import Log

if TYPE_CHECKING:
    from torch import Tensor

LEAST_VISIBLE = 0.35
"""An object of which a random crop leaves a smaller part is neither to be found nor a mistake to find."""
NO_LABEL = -3
_NAMED = 5


@dataclass(frozen=True, eq=False)
class ObjectAnnotations:
    """`objects` in pixels of N images, whose (height, width) are `sizes` (N, 2); `labels` (N,) are the classes of their
    largest ones, 0 where there is none. `starts` (N + 1,) say where the objects of each image begin.
    """

    objects: Objects
    sizes: np.ndarray
    labels: np.ndarray
    starts: np.ndarray

    def targets(self, indices: np.ndarray, geometry: Geometry) -> dict[str, "Tensor"]:
        """Four tensors by name, filled up behind each image's boxes.

        "boxes" (n, G, 4) float32: the visible parts as fractions of what the network sees; "labels" (n, G) int64: their
        classes, ANY_CLASS for a region left out for all, NO_LABEL behind the last; "are_ignored" (n, G) bool: crowds,
        difficult ones, and those of which a crop leaves too little; "sizes" (n, 2) int64: the images' own (height,
        width).
        """
        import torch

        counts = self.starts[np.asarray(indices) + 1] - self.starts[indices]
        most = max(1, int(counts.max(initial=0)))
        rows = np.repeat(np.arange(len(indices)), counts)
        columns = np.concatenate([np.arange(count) for count in counts]) if len(rows) else np.zeros(0, np.int64)
        chosen = self.starts[indices][rows] + columns
        height, width = geometry.size
        matrices = geometry.matrices(self.sizes[indices])
        moved = move_boxes(self.objects.boxes[chosen], matrices[rows]) if len(rows) else np.zeros((0, 4))
        visible = clip_boxes(moved, np.array(geometry.size))
        areas, seen = _areas(moved), _areas(visible)
        boxes = np.zeros((len(indices), most, 4), np.float32)
        labels = np.full((len(indices), most), NO_LABEL, np.int64)
        ignored = np.zeros((len(indices), most), bool)
        boxes[rows, columns] = visible / np.array([width, height, width, height], float)
        labels[rows, columns] = np.where(seen > 0, self.objects.labels[chosen], NO_LABEL)
        ignored[rows, columns] = self.objects.are_ignored[chosen] | (seen < LEAST_VISIBLE * areas)
        ignored |= labels == ANY_CLASS
        return {
            "boxes": torch.from_numpy(boxes),
            "labels": torch.from_numpy(labels),
            "are_ignored": torch.from_numpy(ignored),
            "sizes": torch.from_numpy(self.sizes[indices]),
        }

    def digest_parts(self) -> list[bytes]:
        """Boxes, classes and what is ignored."""
        objects = self.objects
        parts = ((objects.images, "<i8"), (objects.labels, "<i8"), (objects.boxes, "<f8"), (objects.are_ignored, "u1"))
        return [np.ascontiguousarray(part, kind).tobytes() for part, kind in parts]


def read_objects(dataset: Dataset, class_names: tuple[str, ...], log: Log) -> ObjectAnnotations:
    """The objects of a source, their classes as places in `class_names`, by name; flaws are logged, the first few by
    name.

    Raises DataError for classes that are not among them.
    """
    assert dataset.objects is not None
    sizes = image_sizes(dataset.images.read, len(dataset))
    objects, flaws = settle(dataset.objects, sizes, dataset.images.name)
    if flaws:
        log(flaws_in_words(flaws))
    if len(dataset.objects) and not (objects.labels >= 0).any():
        raise DataError(
            f"{dataset.source} has no object left to find: {flaws[0] if flaws else 'all are regions left out'}; see: "
            f"striate data {dataset.source}"
        )
    labels = _renumbered(dataset, objects, class_names)
    objects = Objects(
        class_names, objects.images, labels, objects.boxes, objects.are_ignored, objects.numbers, objects.are_fractions
    )
    if num_empty := len(dataset) - len(np.unique(objects.images)):
        log(f"{num_empty:,} image{'s' * (num_empty > 1)} without an object teach{'es' * (num_empty == 1)} what is none")
    starts = np.concatenate([[0], np.cumsum(np.bincount(objects.images, minlength=len(dataset)))])
    return ObjectAnnotations(objects, np.maximum(sizes, 1), _largest_classes(objects, len(dataset)), starts)


def _renumbered(dataset: Dataset, objects: Objects, class_names: tuple[str, ...]) -> np.ndarray:
    place_of = {name: place for place, name in enumerate(class_names)}
    used = {objects.class_names[label] for label in np.unique(objects.labels) if label >= 0}
    if unknown := sorted(used - set(place_of)):
        shown = ", ".join(map(repr, unknown[:_NAMED])) + (", ..." if len(unknown) > _NAMED else "")
        raise DataError(
            f"{dataset.source} has the classes {shown}, which the model does not know; it knows "
            f"{', '.join(map(repr, class_names[:_NAMED]))}{' ...' if len(class_names) > _NAMED else ''}; rename them "
            "in the source"
        )
    places = np.array([place_of.get(name, 0) for name in objects.class_names], np.int64)
    labels = objects.labels.copy()
    labels[labels >= 0] = places[labels[labels >= 0]]
    return labels


def _largest_classes(objects: Objects, num_images: int) -> np.ndarray:
    labels = np.zeros(num_images, np.int64)
    order = np.argsort(_areas(objects.boxes), kind="stable")
    order = order[objects.labels[order] >= 0]
    labels[objects.images[order]] = objects.labels[order]  # the largest comes last
    return labels


def _areas(boxes: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    return result
