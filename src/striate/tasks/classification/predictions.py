"""What a classifier says of an image: its most probable classes. N images, K classes. Nothing here imports torch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_FEW_OF_MANY = 10  # times as many classes as are wanted: then looking for the largest beats sorting


@dataclass(frozen=True)
class ClassProbability:
    """One class an image may be of; the probabilities of all K classes sum to 1."""

    name: str
    index: int
    probability: float


@dataclass(frozen=True)
class Familiarity:
    """How usual an image is for a model: the fractions of images of its own kind that are at least as strange, in (0,
    1].

    `value` is by the distance of its features from those of training images, `energy_value` by the energy of its
    logits; `is_unfamiliar`: `value` is below the level asked for.
    """

    value: float
    energy_value: float
    is_unfamiliar: bool


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, best first. `path` is its file; the fourth image given is "image 3".

    `class_set` are the names of the classes that hold the right one as often as was asked for, the most probable first;
    `familiarity` says how usual the image is. Both are None where they were not asked for.
    """

    path: str
    classes: tuple[ClassProbability, ...]
    class_set: tuple[str, ...] | None = None
    familiarity: Familiarity | None = None

    def to_json(self) -> dict[str, Any]:
        """{"path", "classes": [{"name", "index", "probability"}]}, and "set" and "familiarity" where they were asked
        for.
        """
        values: dict[str, Any] = {"path": self.path, "classes": [asdict(each) for each in self.classes]}
        if self.class_set is not None:
            values["set"] = list(self.class_set)
        if self.familiarity is not None:
            values["familiarity"] = asdict(self.familiarity)
        return values


def class_answers(
    paths: Sequence[str], probabilities: np.ndarray, class_names: tuple[str, ...], top: int
) -> list[Prediction]:
    """The `top` most probable classes of each image: probabilities (N, K), all finite."""
    best, indices = best_classes(probabilities, top)
    return [
        Prediction(path, tuple(ClassProbability(class_names[k], k, value) for k, value in zip(*row, strict=True)))
        for path, *row in zip(paths, indices.tolist(), best.tolist(), strict=True)
    ]


def best_classes(probabilities: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top` most probable classes of each image, best first: (N, K) -> probabilities and class indices.

    Each is (N, min(top, K)). Of equally probable classes the one with the lower index comes first, as in
    tasks.classification.top_classes.
    """
    num_images, num_classes = probabilities.shape
    if top * _FEW_OF_MANY > num_classes:
        indices = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    else:  # of 20,000 classes five are found in a sixtieth of the time that sorting takes
        rows, left = np.arange(num_images), probabilities.copy()
        indices = np.empty((num_images, top), np.intp)
        for place in range(top):
            indices[:, place] = left.argmax(axis=1)
            left[rows, indices[:, place]] = -np.inf
    return np.take_along_axis(probabilities, indices, axis=1), indices
