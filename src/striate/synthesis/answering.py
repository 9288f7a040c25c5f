"""The model's own answer to a finished picture, after rounding to 8 bits."""

import numpy as np
import torch
from torch import Tensor, nn

from striate.networks.restore import evaluating
from striate.synthesis.models import device_of, logits_of
from striate.synthesis.pictures import to_images


@torch.no_grad()
def answer(model: nn.Module, pixels: np.ndarray) -> Tensor:
    """Probabilities (K,) of a picture (H, W, C) uint8, on the CPU."""
    with evaluating(model):
        return logits_of(model, to_images(pixels, device_of(model)))[0].float().softmax(dim=0).cpu()
