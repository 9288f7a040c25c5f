"""What the training masks hold: whether anything, and weights of classes from their pixels. K classes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.errors import DataError
from striate.tasks.segmentation.loss import log_weights

MOST_MASKS = 1_000


def class_weights_of(annotations: Any, train: np.ndarray, num_classes: int, device: torch.device) -> Tensor:
    """ENet's weights (K,) float32 by an even sample of the training masks."""
    sample = train[np.unique(np.linspace(0, len(train) - 1, min(MOST_MASKS, len(train))).astype(int))]
    pixels = annotations.num_pixels(sample, num_classes)
    return torch.tensor(log_weights(pixels), dtype=torch.float32, device=device)


def check_counts(annotations: Any, train: np.ndarray) -> None:
    """Raise DataError where every pixel of every training mask counts for nothing."""
    if not any(annotations.image_counts(train[[place]], 255).any() for place in range(len(train))):
        raise DataError(
            f"no pixel of the {len(train)} training masks has a class that counts, so nothing can be learnt; "
            "see striate data for the values they hold, and list these in classes.csv: index,name"
        )
