"""What a segmentation model says of an image: the class of every one of its pixels. Nothing here imports torch.

H x W pixels of the image itself, h x w of what the network sees, K classes.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from striate.data.readers.mask_classes import voc_colors

OPACITY = 0.5


@dataclass(frozen=True)
class ClassFraction:
    """A class, and the fraction of an image's pixels that it has."""

    name: str
    index: int
    fraction: float


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """`mask` (H, W) uint8, the class of each pixel of the image at `path`; `classes` are those with any, the largest
    first.

    `confidence` is the mean probability of the classes chosen.
    """

    path: str
    mask: np.ndarray
    classes: tuple[ClassFraction, ...]
    confidence: float

    measure: ClassVar[str] = "pixels"
    """What the numbers of `rows` are."""

    def rows(self) -> list[tuple[str, float | None, str]]:
        """A row a class: its name, the fraction of pixels that it has, and a note."""
        note = f"of {self.mask.shape[1]} x {self.mask.shape[0]} pixels"
        return [(each.name, each.fraction, "" if place else note) for place, each in enumerate(self.classes)]

    def to_json(self) -> dict[str, Any]:
        """{"path", "size": [H, W], "classes": [{"name", "index", "fraction"}], "confidence"}; the mask itself is a
        file: --out.
        """
        return {
            "path": self.path,
            "size": list(self.mask.shape),
            "classes": [asdict(each) for each in self.classes],
            "confidence": self.confidence,
        }


def mask_predictions(
    paths: Sequence[str], values: np.ndarray, sizes: np.ndarray, class_names: tuple[str, ...]
) -> list[MaskPrediction]:
    """Of probabilities (n, K, h, w) of whole images of these (height, width) (n, 2)."""
    return [_predicted(*each, class_names) for each in zip(paths, values, sizes.tolist(), strict=True)]


def _predicted(path: str, probabilities: np.ndarray, size: list[int], class_names: tuple[str, ...]) -> MaskPrediction:
    mask, best = largest(probabilities, (size[0], size[1]))
    return mask_prediction(path, mask, float(best.mean()), class_names)


def mask_prediction(path: str, mask: np.ndarray, confidence: float, class_names: tuple[str, ...]) -> MaskPrediction:
    """What a mask (H, W) uint8 says of the image at `path`."""
    counts = np.bincount(mask.reshape(-1), minlength=len(class_names))
    order = [k for k in np.argsort(-counts, kind="stable").tolist() if counts[k]]
    classes = tuple(ClassFraction(class_names[k], k, float(counts[k] / mask.size)) for k in order)
    return MaskPrediction(path, mask, classes, confidence)


def largest(probabilities: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The most probable class (H, W) uint8 of each pixel and its probability, of (K, h, w) resized bilinearly to (H, W)
    = `size`.

    One class after another, so that memory does not grow with their number.
    """
    mask, best = np.zeros(size, np.uint8), np.full(size, -1.0, np.float32)
    for k, plane in enumerate(probabilities):
        resized = plane if plane.shape == size else _resized(plane, size)
        is_larger = resized > best
        mask[is_larger], best[is_larger] = k, resized[is_larger]
    return mask, best


def _resized(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def class_colors(num_classes: int) -> np.ndarray:
    """A colour for each class, Pascal VOC's from the second on: (K, 3) uint8."""
    return voc_colors()[1 : num_classes + 1]


def classes_table(class_names: tuple[str, ...]) -> str:
    """A classes.csv of these classes with the colours that masks are drawn in."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "name", "r", "g", "b"])
    for k, (name, color) in enumerate(zip(class_names, class_colors(len(class_names)).tolist(), strict=True)):
        writer.writerow([k, name, *color])
    return text.getvalue()


def overlay(pixels: np.ndarray, mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels (H, W, 3) uint8 with the colours of a mask (H, W) over them, none where the mask has no class: (H, W, 3)
    uint8.
    """
    colors = np.zeros((256, 3), np.float32)
    colors[:num_classes] = class_colors(num_classes)
    weight = np.where(mask < num_classes, OPACITY, 0.0)[..., None]
    mixed: np.ndarray = pixels * (1 - weight) + colors[mask] * weight
    return np.rint(mixed).astype(np.uint8)


def paletted(mask: np.ndarray, num_classes: int) -> Image.Image:
    """A mask (H, W) uint8 as a PNG's palette picture: its values are the classes, its colours those of
    `class_colors`.
    """
    picture = Image.fromarray(np.ascontiguousarray(mask)).convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    colors = np.zeros((256, 3), np.uint8)
    colors[:num_classes] = class_colors(num_classes)
    picture.putpalette(colors.tobytes())
    return picture
