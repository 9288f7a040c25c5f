"""The embedded data set: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels. No download, no given splits."""

import numpy as np

from striate.data.dataset import NO_SPLIT, Dataset
from striate.data.readers.access import ArrayImages


def read_digits() -> Dataset:
    """The digits, their sixteen steps of grey scaled to 0..255."""
    from sklearn.datasets import load_digits  # takes a second to import

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    return Dataset(
        source="digits",
        kind="digits",
        class_names=tuple(str(name) for name in digits.target_names),
        images=ArrayImages((("digits", pixels),)),
        labels=digits.target.astype(np.int64),
        given_splits=np.full(len(pixels), NO_SPLIT, dtype=np.int8),
    )
