"""The images that a model is compressed with: parts to train on, to choose by and to measure on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from striate.data.opening import Access
from striate.data.packed import PreparedImages
from striate.data.sampling import read_batch
from striate.errors import DataError
from striate.evaluation.evaluate_model import ALL, open_parts
from striate.tasks.model import Model
from striate.tasks.task import Annotations

_CARVED = 10
"""Of images that have a training part and no other, one in so many is kept for choices."""


@dataclass(frozen=True, eq=False)
class CompressionImages:
    """Indices of `packed` by use; `annotations` of all images, whose labels are outputs of the model. `train` and
    `validation` may be empty: then nothing is retrained. `split` says what `test` is: "test", or the part that stands
    in its place.
    """

    packed: PreparedImages
    annotations: Annotations
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    split: str
    source: str

    def some(self, model: Model, number: int) -> tuple[np.ndarray, Tensor]:
        """Up to `number` images to choose or calibrate by, evenly spread over the validation part, or what stands in
        its place: their indices, and themselves prepared for the model's network, on its device.
        """
        part = self.validation if len(self.validation) else self.test
        chosen = part[np.linspace(0, len(part) - 1, min(number, len(part))).astype(int)]
        pixels = read_batch(self.packed, chosen, model.preprocessing.crop_size).to(model.device)
        return chosen, model.preprocessing.normalize(pixels)

    @property
    def labels(self) -> np.ndarray:
        """(N,) the class of each image."""
        return self.annotations.labels

    @property
    def can_train(self) -> bool:
        """Whether there are images to retrain on and others to choose by."""
        return len(self.train) > 0 and len(self.validation) > 0


def open_images(model: Model, source: str | Path | None, access: Access) -> CompressionImages:
    """The parts of a source for compressing a model; of the model's own training data without one. Raises as
    `striate.evaluate` does.

    The splits of the model's training, or the source's own, are kept; a source without any is for measuring only.
    """
    opened = open_parts(model, source, access)
    parts = {name: indices[opened.packed.usable[indices]] for name, indices in opened.parts.items()}
    train, validation, test = parts["train"], parts["validation"], parts["test"]
    if len(train) and not len(validation):
        order = np.random.default_rng(0).permutation(train)
        validation, train = np.sort(order[: len(order) // _CARVED]), np.sort(order[len(order) // _CARVED :])
    split = "test" if len(test) else "validation" if len(validation) else ALL
    test = {"test": test, "validation": validation, ALL: parts[ALL]}[split]
    if not len(test):
        raise DataError(f"{opened.dataset.source} has no readable image to measure the model on; name another source")
    return CompressionImages(opened.packed, opened.annotations, train, validation, test, split, opened.dataset.source)
