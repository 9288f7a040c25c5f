"""Numbers measured on images."""

import numpy as np

from striate.data.packed import PreparedImages
from striate.data.preprocessing import crop_center

MAX_IMAGES = 5_000
"""More images than this move a mean by less than it is rounded; so many are drawn at even distances."""


def measure_mean_image(packed: PreparedImages, indices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mean of the centres of these images, pixel by pixel: (height, width, C) uint8, rounded."""
    chosen = indices[:: max(1, len(indices) // MAX_IMAGES)]
    total = np.zeros((*size, packed.channels))
    for index in chosen:
        total += crop_center(packed.image(int(index)), size)
    return np.round(total / len(chosen)).astype(np.uint8)


def measure_mean_std(packed: PreparedImages, indices: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of these images, as fractions of 255, to four digits.

    A channel that never changes gets a standard deviation of 1, so that dividing by it changes nothing.
    """
    step = max(1, len(indices) // MAX_IMAGES)
    total, squares, count = np.zeros(packed.channels), np.zeros(packed.channels), 0
    for index in indices[::step]:
        pixels = packed.image(int(index)).reshape(-1, packed.channels) / 255.0
        total += pixels.sum(axis=0)
        squares += np.square(pixels).sum(axis=0)
        count += len(pixels)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return tuple(round(float(m), 4) for m in mean), tuple(round(float(s), 4) or 1.0 for s in std)
