"""Grad-CAM++ (Chattopadhay et al. 2017, arXiv:1710.11063, eq. 5 and 19)."""

from typing import Any

import torch
from torch import Tensor, nn

from striate.explanation.batches import map_in_parts
from striate.explanation.gradients import layer_gradients
from striate.explanation.layers import default_layer
from striate.explanation.scores import Classes


def grad_cam_plus_plus(
    network: nn.Module, images: Tensor, *, classes: Classes, layer: str | None = None, batch_size: int | None = None
) -> Tensor:
    """Grad-CAM++: images (N, C, H, W) -> heat maps (N, h, w) >= 0, neither resized nor normalised.

    Places are weighed by alpha = g^2 / (2 g^2 + sum(A) g^3), g the gradient of the score by the layer's output A, 0
    where g is; a channel's weight is the sum of alpha relu(g). The paper's factor exp(score), the same for all of an
    image, is left out.
    """
    layer = layer or default_layer(network, images)

    def part(some: Tensor, chosen: Any) -> Tensor:
        maps, gradients = layer_gradients(network, some, chosen, layer)
        # g^2 cancels: 1 / (2 + sum(A) g), which no small gradient rounds away
        denominators = 2 + maps.sum(dim=(2, 3), keepdim=True) * gradients
        alphas = torch.where((gradients != 0) & (denominators != 0), 1 / denominators, 0)
        weights = (alphas * gradients.relu()).sum(dim=(2, 3), keepdim=True)
        return (weights * maps).sum(dim=1).relu()

    return map_in_parts(network, images, classes, part, batch_size=batch_size)
