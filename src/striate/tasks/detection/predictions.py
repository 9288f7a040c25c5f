"""What a detector says of an image: every object's class, score and box in the image's own pixels. Nothing here imports
torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from striate.data.geometry import clip_boxes, inverted, move_boxes, viewing_matrices
from striate.data.preprocessing import Preprocessing
from striate.tasks.detection.values import read_values


@dataclass(frozen=True)
class DetectedObject:
    """One object: its class by name and place, its score in [0, 1], its box (x1, y1, x2, y2), the whole image being (0,
    0, W, H).
    """

    name: str
    index: int
    score: float
    box_xyxy: tuple[float, float, float, float]


@dataclass(frozen=True)
class DetectedPrediction:
    """The objects of one image of `size` (height, width), best first. `path` is its file."""

    measure: ClassVar[str] = "score"
    """What a table calls the number beside an object."""

    path: str
    size: tuple[int, int]
    objects: tuple[DetectedObject, ...]

    def rows(self) -> list[tuple[str, float | None, str]]:
        """What a table shows: name, score and box of each object; one row where there is none."""
        listed: list[tuple[str, float | None, str]] = [
            (each.name, each.score, f"box {' '.join(f'{value:.0f}' for value in each.box_xyxy)}")
            for each in self.objects
        ]
        return listed or [("no object", None, "")]

    def to_json(self) -> dict[str, Any]:
        """{"path", "height", "width", "objects": [{"name", "index", "score", "box": [x1, y1, x2, y2]}]}"""
        objects = []
        for each in self.objects:
            values = asdict(each)
            objects.append({**{k: v for k, v in values.items() if k != "box_xyxy"}, "box": list(each.box_xyxy)})
        return {"path": self.path, "height": self.size[0], "width": self.size[1], "objects": objects}


def detected(
    paths: Sequence[str],
    values: np.ndarray,
    sizes: np.ndarray,
    preprocessing: Preprocessing,
    class_names: tuple[str, ...],
    least_score: float,
) -> list[DetectedPrediction]:
    """Of values (n, D * 6) of images of these (height, width) (n, 2), the objects with at least this score."""
    back = inverted(viewing_matrices(preprocessing, sizes))
    height, width = preprocessing.crop_size
    result = []
    for path, found, size, matrix in zip(paths, read_values(values, len(class_names)), sizes, back, strict=True):
        own = found.above(least_score)
        seen = own.boxes * np.array([width, height, width, height], float)
        boxes = clip_boxes(move_boxes(seen, np.repeat(matrix[None], len(seen), axis=0)), size) if len(seen) else seen
        objects = tuple(
            DetectedObject(class_names[label], int(label), float(score), (box[0], box[1], box[2], box[3]))
            for box, score, label in zip(boxes.tolist(), own.scores, own.labels, strict=True)
        )
        result.append(DetectedPrediction(path, (int(size[0]), int(size[1])), objects))
    return result
