"""One box an image, moved with its pixels. N images of the source, n of a batch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from striate.data.dataset import Dataset
from striate.data.geometry import Geometry, clip_boxes, move_boxes
from striate.data.objects import chosen_objects, flaws_in_words, image_sizes, settle
from striate.progress import Log

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

        "boxes" (n, 4): the visible part as fractions of what the network sees; "has_box" (n,): 0 where too little is
        visible; "full_boxes" (n, 4): uncut.
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


def read_boxes(dataset: Dataset, labels: np.ndarray, log: Log) -> BoxAnnotations:
    """The boxes of a source in pixels, cut at the borders of their images, whose sizes stand in their headers. Flaws
    are treated as those of a source with many objects an image, and logged, the first few by name; an image whose box
    is of no use has one of NaN.
    """
    assert dataset.boxes is not None
    sizes = image_sizes(dataset.images.read, len(dataset))
    objects, flaws = settle(chosen_objects(dataset), sizes, dataset.images.name)
    if flaws:
        log(flaws_in_words(flaws))
    objects = objects.of(np.isfinite(dataset.boxes[objects.images, 0]))
    boxes = np.full((len(dataset), 4), np.nan)
    boxes[objects.images] = objects.boxes
    return BoxAnnotations(labels, boxes, np.maximum(sizes, 1))


def _areas(boxes: np.ndarray) -> np.ndarray:
    result: np.ndarray = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return result
