"""A scanned source: which images there are, what they are called, and which split their owner gave them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from striate.data.masks import Masks
    from striate.data.objects import Objects

SPLITS = ("train", "validation", "test")
NO_SPLIT = -1


class ImageReader(Protocol):
    """Random access to the images of a source, safe to call from several threads."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The image's name: its path below the source, or "train[17]"."""
        ...

    def read(self, index: int) -> bytes | np.ndarray:
        """The encoded bytes of the image, or its pixels (H, W, C) uint8 where the source holds pixels. May raise
        OSError.
        """
        ...


@dataclass(frozen=True)
class Dataset:
    """A source after scanning; nothing is decoded yet. N images, K classes.

    `labels` (N,) int64 index `class_names`; `given_splits` (N,) int8 index SPLITS, NO_SPLIT where the source gives
    none. `has_index_labels`: the source names its classes only by number (a CSV with an index column), so that for a
    model with other names the numbers are its output indices. `notices` are lines that the user should see (files
    passed over and why). `columns` is the line that says which column of a table was read as what. `boxes` (N, 4)
    float64, where the source has them, are (x1, y1, x2, y2) of one object an image, in pixels of the image as it is
    shown; NaN for an image without one. `objects`, where the source has several an image, are all of them, with classes
    of their own numbering; labels and boxes are then those of the largest. `masks`, where the source has them, say the
    class of every pixel; `labels` then are all 0.
    """

    source: str
    kind: str
    class_names: tuple[str, ...]
    images: ImageReader
    labels: np.ndarray
    given_splits: np.ndarray
    has_index_labels: bool = False
    notices: tuple[str, ...] = field(default=())
    root: Path | None = None
    columns: str | None = None
    boxes: np.ndarray | None = None
    objects: "Objects | None" = None
    masks: "Masks | None" = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """The splits: sorted, disjoint int64 indices into the dataset.

    `notices` tell what the user should know: duplicates kept out of training, classes that a split lacks.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    notices: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> np.ndarray:
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]
