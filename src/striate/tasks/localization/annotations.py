"""One box an image, moved with its pixels. N images of the source, n of a batch."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from striate.data.dataset import Dataset
from striate.data.decoding import image_facts
from striate.data.geometry import Geometry, clip_boxes, move_boxes
from striate.data.parallel import map_in_order
from striate.errors import DataError, InputError

if TYPE_CHECKING:
    from torch import Tensor

LEAST_VISIBLE = 0.25
"""Of a box of which a random crop leaves a smaller part, no network could tell where it lies."""


@dataclass(frozen=True, eq=False)
class BoxAnnotations:
    """`labels` (N,) int64; `boxes` (N, 4) float64 in pixels of the images, whose (height, width) are `sizes` (N, 2)."""

    labels: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray

    def targets(self, indices: np.ndarray, geometry: Geometry) -> dict[str, "Tensor"]:
        """Four tensors by name: "labels" (n,) int64, and float32 the others.

        "boxes" (n, 4): the visible part as fractions of what the network sees; "has_box" (n,): 0 where too little is visible;
        "full_boxes" (n, 4): uncut.
        """
        import torch

        height, width = geometry.size
        moved = move_boxes(self.boxes[indices], geometry.matrices(self.sizes[indices]))
        visible = clip_boxes(moved, np.array(geometry.size))
        has_box = _areas(visible) >= LEAST_VISIBLE * _areas(moved)
        sides = np.array([width, height, width, height], float)
        return {
            "labels": torch.from_numpy(self.labels[indices]),
            "boxes": torch.from_numpy((visible / sides).astype(np.float32)),
            "has_box": torch.from_numpy(has_box.astype(np.float32)),
            "full_boxes": torch.from_numpy((moved / sides).astype(np.float32)),
        }

    def digest_parts(self) -> list[bytes]:
        """The boxes."""
        return [np.ascontiguousarray(self.boxes, "<f8").tobytes()]


def read_boxes(dataset: Dataset, labels: np.ndarray) -> BoxAnnotations:
    """The boxes of a source, cut at the borders of their images, whose sizes stand in their headers.

    Raises DataError for a box that lies outside its image.
    """
    assert dataset.boxes is not None
    sizes = np.array(list(map_in_order(partial(_size, dataset), range(len(dataset)))), np.int64).reshape(-1, 2)
    given = dataset.boxes
    if dataset.objects is not None and dataset.objects.are_fractions:
        given = given * sizes[:, [1, 0, 1, 0]]
    boxes = clip_boxes(given, sizes)
    is_lost = (sizes > 0).all(axis=1) & (_areas(boxes) <= 0)
    if is_lost.any():
        first = int(np.flatnonzero(is_lost)[0])
        box = ", ".join(f"{value:g}" for value in dataset.boxes[first])
        height, width = sizes[first]
        raise DataError(
            f"{dataset.source}: the box ({box}) of {dataset.images.name(first)} lies outside its {width} x {height} pixels; "
            "boxes are left, top, right and lower border in pixels"
        )
    return BoxAnnotations(labels, boxes, np.maximum(sizes, 1))


def _size(dataset: Dataset, index: int) -> tuple[int, int]:
    """(height, width) of an image as it is shown; 0 where it cannot be read, which packing says."""
    try:
        facts = image_facts(dataset.images.read(index))
    except (InputError, OSError):
        return 0, 0
    return facts.height, facts.width


def _areas(boxes: np.ndarray) -> np.ndarray:
    result: np.ndarray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return result
