"""What a layer gives for images, and which layers rectify. N images, C' channels, h x w places."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from striate.explanation.batches import check_images, run
from striate.explanation.gradients import as_maps
from striate.inspection.layers import NetworkDescription
from striate.networks.hooks import recording
from striate.networks.restore import frozen

_RECTIFIERS = (
    "relu",
    "relu6",
    "leakyrelu",
    "prelu",
    "elu",
    "celu",
    "selu",
    "silu",
    "gelu",
    "mish",
    "hardswish",
    "softplus",
)


def activation_maps(network: nn.Module, images: Tensor, layer: str) -> Tensor:
    """The output of a layer for images (N, C, H, W) -> (N, C', h, w); InputError for one that gives no map or runs
    several times.
    """
    return activations(network, images, [layer])[layer]


def activations(network: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """The outputs of several layers as maps (N, C', h, w); vectors (N, C') become maps of one place."""
    with frozen(network), torch.no_grad():
        inputs = check_images(network, images)
        with recording(network, *layers) as seen:
            run(network, inputs)
        return {layer: _maps(seen[layer], layer, inputs) for layer in layers}


def _maps(output: Tensor, layer: str, images: Tensor) -> Tensor:
    if output.ndim == 2:
        return output[:, :, None, None]
    return output if output.ndim == 4 else as_maps(output, layer, images.shape[2:])


def rectified_layers(description: NetworkDescription) -> list[str]:
    """The names of the rectifying activations that run with a map or a vector, modules and functions, each call by
    itself.
    """
    found = []
    for layer in description.layers:
        kind = layer.kind.lower().replace("_", "")
        if kind in _RECTIFIERS and len(layer.output_shape) in (1, 3):
            calls = range(1, layer.num_calls + 1) if ":" not in layer.name and layer.num_calls > 1 else ()
            found += [f"{layer.name}#{call}" for call in calls] or [layer.name]
    return found
