"""What a network says to images as they are. N images, K classes."""

import torch
from torch import Tensor

from striate.robustness.attacked import Callee, attacking

_CLEAN_BATCH = 64


def clean_outputs(network: Callee, images: Tensor) -> Tensor:
    """Outputs (N, K) for the images as they are, in evaluation mode."""
    with attacking(network) as attacked:
        return torch.cat([attacked.outputs(part) for part in images.split(_CLEAN_BATCH)])
