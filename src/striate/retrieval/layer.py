"""Features of images at any place of a network, and a digest of all that they depend on. N images, D features."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from striate.errors import InputError
from striate.evaluation.frozen_features import as_rows, last_weighted_layer
from striate.explanation.measure import as_inputs
from striate.networks.hooks import input_of, output_at
from striate.networks.restore import evaluating
from striate.tasks.model import Model


@dataclass(frozen=True)
class FeatureLayer:
    """A place in a network: features are its output, or where `is_input` its input."""

    name: str
    is_input: bool = False


def find_layer(model: Model, name: str | None) -> FeatureLayer:
    """The place called `name`, a module or a function as `striate describe` names them; without a name the input of the
    last layer with weights, a classifier's features. InputError, with near misses, where there is none, or where it
    gives no tensor.
    """
    blank = torch.zeros(1, model.preprocessing.channels, *model.preprocessing.crop_size, device=model.device)
    if name is None:
        with evaluating(model.network), torch.no_grad():
            return FeatureLayer(last_weighted_layer(model.network, blank), is_input=True)
    found = FeatureLayer(name)
    features_at(model, blank, found)
    return found


def features_of(model: Model, pixels: np.ndarray, layer: FeatureLayer) -> np.ndarray:
    """Pixels (N, H, W, C) uint8, of the size `preprocessing.crop_size` -> features (N, D) float32, averaged over
    places.
    """
    return features_at(model, as_inputs(model, list(pixels)), layer)


def features_at(model: Model, inputs: Tensor, layer: FeatureLayer) -> np.ndarray:
    """The same of normalised images (N, C, H, W). The network comes back as it was."""
    with evaluating(model.network), torch.no_grad():
        take = input_of if layer.is_input else output_at
        found = take(model.network, inputs, layer.name)
    if not isinstance(found, Tensor) or found.ndim < 2 or len(found) != len(inputs):
        raise InputError(
            f"{layer.name} gives no features of each image; name another layer: striate describe lists them"
        )
    return as_rows(found)


def digest_of(model: Model) -> str:
    """64 hexadecimal digits that change with the network's weights and with how images are prepared for it."""
    digest = hashlib.sha256(json.dumps(model.preprocessing.to_json(), sort_keys=True).encode())
    digest.update(model.network_name.encode())
    for name, value in sorted(model.network.state_dict().items()):
        digest.update(f"{name}\0{tuple(value.shape)}\0{value.dtype}\0".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
