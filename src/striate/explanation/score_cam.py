"""Score-CAM: channels weighed by the score of the image seen through them (Wang et al. 2019, arXiv:1910.01279, eq.
4-6).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.explanation.batches import laid_out_as, map_in_parts, num_at_once, run
from striate.explanation.gradients import as_maps
from striate.explanation.layers import default_layer
from striate.explanation.scores import Classes, class_scores
from striate.networks.hooks import recording


def score_cam(
    network: nn.Module, images: Tensor, *, classes: Classes, layer: str | None = None, batch_size: int | None = None
) -> Tensor:
    """Score-CAM: images (N, C, H, W) -> heat maps (N, h, w) >= 0, neither resized nor normalised; no gradient is
    needed.

    Every channel of `layer`, enlarged and scaled to [0, 1], is a mask on the image; a channel's weight is the softmax
    over channels of the masked image's score. So one forward pass a channel: 512 for SqueezeNet. Corners are aligned in
    enlarging, as in pytorch-grad-cam.
    """
    layer = layer or default_layer(network, images)

    def part(some: Tensor, chosen: Any) -> Tensor:
        with torch.no_grad():
            with recording(network, layer) as seen:
                run(network, some)
            maps = as_maps(seen[layer], layer, some.shape[2:])
            size = num_at_once(some, batch_size)
            return torch.cat(
                [
                    _one(
                        network,
                        some[i : i + 1],
                        maps[i],
                        chosen[i : i + 1] if isinstance(chosen, Tensor) else chosen,
                        size,
                    )
                    for i in range(len(some))
                ]
            )

    return map_in_parts(network, images, classes, part, batch_size=batch_size)


def _one(network: nn.Module, image: Tensor, maps: Tensor, chosen: Any, size: int) -> Tensor:
    """The map (1, h, w) of one image (1, C, H, W) with the output (C', h, w) of its layer."""
    scores = []
    for some in maps.split(size):
        masks = F.interpolate(some[:, None], size=image.shape[2:], mode="bilinear", align_corners=True)  # (n, 1, H, W)
        low, high = masks.amin(dim=(1, 2, 3), keepdim=True), masks.amax(dim=(1, 2, 3), keepdim=True)
        masks = (masks - low) / (high - low).clamp(min=torch.finfo(masks.dtype).tiny)
        labels = chosen.expand(len(some)) if isinstance(chosen, Tensor) else chosen
        scores.append(class_scores(run(network, laid_out_as(image * masks, image)), labels))
    weights = torch.cat(scores).softmax(dim=0)
    return (weights[:, None, None] * maps).sum(dim=0).relu()[None]
