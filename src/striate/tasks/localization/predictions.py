"""What a localisation model says of an image: its class, and the box in the image's own pixels. Nothing here imports
torch.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from striate.data.geometry import clip_boxes, inverted, move_boxes, viewing_matrices
from striate.data.preprocessing import Preprocessing
from striate.tasks.classification.predictions import ClassProbability, class_answers


@dataclass(frozen=True)
class LocalizedPrediction:
    """The most probable classes of one image, best first, and the box (x1, y1, x2, y2) in its pixels, the whole image
    being (0, 0, W, H). `path` is its file.
    """

    path: str
    classes: tuple[ClassProbability, ...]
    box_xyxy: tuple[float, float, float, float]

    def to_json(self) -> dict[str, Any]:
        """{"path", "classes": [{"name", "index", "probability"}], "box": [x1, y1, x2, y2]}"""
        return {"path": self.path, "classes": [asdict(each) for each in self.classes], "box": list(self.box_xyxy)}


def localized(
    paths: Sequence[str],
    values: np.ndarray,
    sizes: np.ndarray,
    preprocessing: Preprocessing,
    class_names: tuple[str, ...],
    top: int,
) -> list[LocalizedPrediction]:
    """Of values (n, K + 4) of images of these (height, width) (n, 2), with `top` classes each."""
    num_classes = len(class_names)
    named = class_answers(paths, values[:, :num_classes], class_names, top)
    boxes = to_image_pixels(values[:, num_classes:], sizes, preprocessing)
    return [
        LocalizedPrediction(each.path, each.classes, (box[0], box[1], box[2], box[3]))
        for each, box in zip(named, boxes.tolist(), strict=True)
    ]


def to_image_pixels(fractions: np.ndarray, sizes: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Boxes (n, 4) as fractions of what the network sees -> in pixels of the images they were made of, within these:
    (n, 4).
    """
    height, width = preprocessing.crop_size
    seen = fractions.astype(np.float64) * np.array([width, height, width, height], float)
    return clip_boxes(move_boxes(seen, inverted(viewing_matrices(preprocessing, sizes))), sizes)
