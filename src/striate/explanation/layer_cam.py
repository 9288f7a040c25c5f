"""LayerCAM: each place weighed by its own gradient (Jiang et al. 2021, IEEE TIP 30, eq. 6-8)."""

from typing import Any

from torch import Tensor, nn

from striate.explanation.batches import map_in_parts
from striate.explanation.gradients import layer_gradients
from striate.explanation.layers import default_layer
from striate.explanation.scores import Classes


def layer_cam(
    network: nn.Module, images: Tensor, *, classes: Classes, layer: str | None = None, batch_size: int | None = None
) -> Tensor:
    """LayerCAM: images (N, C, H, W) -> heat maps (N, h, w) >= 0, neither resized nor normalised.

    Positive gradients times the layer's output, summed over channels. Also meaningful at earlier, finer layers.
    """
    layer = layer or default_layer(network, images)

    def part(some: Tensor, chosen: Any) -> Tensor:
        maps, gradients = layer_gradients(network, some, chosen, layer)
        return (gradients.relu() * maps).sum(dim=1).relu()

    return map_in_parts(network, images, classes, part, batch_size=batch_size)
