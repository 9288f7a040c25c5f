"""Features of a frozen network: what its last layer with weights is given. N images, D features, C' channels of a
map.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.packed import PreparedImages
from striate.errors import InputError
from striate.evaluation.evaluate_network import plain_batches
from striate.networks.hooks import input_of, module_hooks
from striate.networks.restore import evaluating
from striate.progress import Track, track_silently
from striate.tasks.model import Model


def frozen_features(
    model: Model,
    packed: PreparedImages,
    indices: np.ndarray,
    *,
    batch_size: int = 32,
    track: Track = track_silently,
) -> np.ndarray:
    """The input of the network's last layer with weights for these images of `packed`: (n, D) float32.

    A map (n, C', h, w), as before a classifier that is a 1x1 convolution, is averaged over its places, and so are
    tokens. The network comes back as it was. Raises InputError where no layer has weights.
    """
    rows: list[np.ndarray] = []
    batches = plain_batches(packed, indices, model.preprocessing, batch_size, model.device)
    with evaluating(model.network), torch.no_grad():
        name = ""
        for images in track(batches, "computing features", -(-len(indices) // batch_size)):
            name = name or last_weighted_layer(model.network, images[:1])
            rows.append(as_rows(input_of(model.network, images, name)))
    return np.concatenate(rows)


def last_weighted_layer(network: nn.Module, images: Tensor) -> str:
    """The name of the module with weights (two extents or more) and no module inside that runs last for such images (N,
    C, H, W).
    """
    modules = dict(network.named_modules())
    order: list[str] = []

    def after(name: str, _args: Any, _output: Any) -> None:
        weight = getattr(modules[name], "weight", None)
        if isinstance(weight, Tensor) and weight.ndim >= 2 and not any(modules[name].children()):
            order.append(name)

    with module_hooks(network, lambda *_: None, after):
        network(images)
    if not order:
        raise InputError(f"{type(network).__name__} has no layer with weights, so it has no features; leave it out")
    return order[-1]


def as_rows(features: Tensor) -> np.ndarray:
    """(n, D), (n, T, D) or (n, D, h, w) -> (n, D) float32."""
    if features.ndim == 4:
        features = features.mean(dim=(2, 3))
    elif features.ndim == 3:
        features = features.mean(dim=1)
    return features.flatten(1).float().cpu().numpy()
