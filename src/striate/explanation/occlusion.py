"""Occlusion: how much the score falls when a window of the image is covered (Zeiler & Fergus 2013, arXiv:1311.2901,
section 4.2).
"""

from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.explanation.batches import laid_out_as, map_in_parts, num_at_once, run
from striate.explanation.scores import Classes, class_scores


def occlusion(
    network: nn.Module,
    images: Tensor,
    *,
    classes: Classes,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    baseline: float = 0.0,
    batch_size: int | None = None,
) -> Tensor:
    """The fall of the score, signed, at each pixel: images (N, C, H, W) -> maps (N, H, W); no gradient is needed.

    A `window` (height, width) of all channels is set to `baseline`, 0 being the mean colour of normalised images, and
    moved by `stride`; the last window of a row or column is cut off at the border. A pixel gets the mean over the
    windows that cover it. By default windows are an eighth of the image, moved by half of that. Raises InputError for
    windows that leave gaps.
    """
    height, width = images.shape[2:] if images.ndim == 4 else (0, 0)
    size = _pair(window) if window is not None else (max(1, height // 8), max(1, width // 8))
    step = _pair(stride) if stride is not None else (max(1, size[0] // 2), max(1, size[1] // 2))
    if images.ndim == 4 and not all(1 <= s <= w <= n for s, w, n in zip(step, size, (height, width), strict=True)):
        raise InputError(
            f"a window must fit into images of {height}x{width} and be at least as large as its stride, but the window "
            f"is {size} and the stride {step}"
        )
    rows, columns = (
        [(start, min(start + w, n)) for start in range(0, -(-(n - w) // s) * s + 1, s)]
        for s, w, n in zip(step, size, (height, width), strict=True)
    )
    boxes = [(*row, *column) for row in rows for column in columns]

    def part(some: Tensor, chosen: Any) -> Tensor:
        with torch.no_grad():
            return _falls(network, some, chosen, boxes, baseline, num_at_once(some, batch_size))

    return map_in_parts(network, images, classes, part, batch_size=batch_size)


def _falls(
    network: nn.Module, images: Tensor, chosen: Any, boxes: list[tuple[int, int, int, int]], baseline: float, size: int
) -> Tensor:
    """The mean fall at each pixel (n, H, W); about `size` images are computed at once."""
    num_images = len(images)
    total = torch.zeros_like(images[:, 0])
    times = torch.zeros_like(images[0, 0])
    whole = class_scores(run(network, images), chosen)
    several = max(1, size // num_images)
    for first in range(0, len(boxes), several):
        some = boxes[first : first + several]
        covered = laid_out_as(images.repeat(len(some), 1, 1, 1), images)
        for place, (top, bottom, left, right) in enumerate(some):
            covered[place * num_images : (place + 1) * num_images, :, top:bottom, left:right] = baseline
        labels = chosen.repeat(len(some)) if isinstance(chosen, Tensor) else chosen
        scores = class_scores(run(network, covered), labels).view(len(some), num_images)
        for (top, bottom, left, right), fallen in zip(some, whole - scores, strict=True):
            total[:, top:bottom, left:right] += fallen[:, None, None]
            times[top:bottom, left:right] += 1
    return total / times


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
