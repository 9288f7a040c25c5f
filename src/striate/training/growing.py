"""Progressive resizing: a run begins with small images, which cost a fraction of the work, and ends with those of full size.

As in the progressive learning of EfficientNetV2 (arXiv:2104.00298, section 4): a few stages of equal length, whose sides
rise evenly. The changes made to images at random stay the same throughout, which is where it departs from there.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

NUM_STAGES = 4
FULL_FROM = 0.7
"""Share of the run after which images have their full size; the stages before have equal parts of it. Norms need the time
to get used to images of that size."""
STEP_PX = 4
"""Sides between the first and the last are multiples of this."""


def growing_size(full: tuple[int, int], start_px: int, progress: float) -> tuple[int, int]:
    """(height, width) of the images once the share `progress`, in [0, 1), of the run is over.

    `full` is their (height, width) at the end; the shorter side begins with `start_px`, or as it is where that is 0.
    """
    stage = min(NUM_STAGES - 1, int(progress / FULL_FROM * (NUM_STAGES - 1)))
    if start_px == 0 or stage == NUM_STAGES - 1:
        return full
    shorter = min(full)
    side = start_px + (shorter - start_px) * stage / (NUM_STAGES - 1)
    if stage > 0:
        side = max(start_px, round(side / STEP_PX) * STEP_PX)
    height, width = (round(length * min(1.0, side / shorter)) for length in full)
    return height, width


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Float images (N, C, H, W) made `size` (height, width) with an antialiased bilinear filter, as all else is resized."""
    if images.shape[2:] == torch.Size(size):
        return images
    return interpolate(images, size, mode="bilinear", antialias=True)
