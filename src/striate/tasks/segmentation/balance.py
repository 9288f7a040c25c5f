"""Weights of classes from the pixels of the training masks. K classes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.tasks.segmentation.loss import log_weights

MOST_MASKS = 1_000


def class_weights_of(annotations: Any, train: np.ndarray, num_classes: int, device: torch.device) -> Tensor:
    """ENet's weights (K,) float32 by an even sample of the training masks."""
    sample = train[np.unique(np.linspace(0, len(train) - 1, min(MOST_MASKS, len(train))).astype(int))]
    pixels, _ = annotations.frequencies(sample, num_classes)
    return torch.tensor(log_weights(pixels), dtype=torch.float32, device=device)
