"""Grad-CAM: which places of a layer's map speak for a class (Selvaraju et al. 2016, arXiv:1610.02391, eq. 1-2)."""

from typing import Any

from torch import Tensor, nn

from striate.explanation.batches import map_in_parts
from striate.explanation.gradients import layer_gradients
from striate.explanation.layers import default_layer
from striate.explanation.scores import Classes


def grad_cam(
    network: nn.Module, images: Tensor, *, classes: Classes, layer: str | None = None, batch_size: int | None = None
) -> Tensor:
    """Grad-CAM: images (N, C, H, W) -> heat maps (N, h, w) >= 0, neither resized nor normalised.

    h x w is the size of the output of `layer`, by default `default_layer`. Channels are weighed by the mean of their
    gradient over all places. `striate.explanation.enlarge` brings maps to the size of the images.
    """
    layer = layer or default_layer(network, images)

    def part(some: Tensor, chosen: Any) -> Tensor:
        maps, gradients = layer_gradients(network, some, chosen, layer)
        weights = gradients.mean(dim=(2, 3), keepdim=True)  # (n, C', 1, 1)
        return (weights * maps).sum(dim=1).relu()

    return map_in_parts(network, images, classes, part, batch_size=batch_size)
