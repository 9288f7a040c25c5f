"""A linear baseline as a model of striate: one file that predicts, is evaluated and attacked, its weights shown as
pictures.
"""

from dataclasses import asdict

import numpy as np
import torch

from striate.baselines.baseline import Baselines
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.networks.families.mlp import MLP, MLPConfig
from striate.tasks.model import Model
from striate.version import __version__

LINEAR = ("softmax", "linear_svm")


def linear_model(found: Baselines, kind: str = "softmax") -> Model:
    """The linear classifier on pixels that `baseline` fitted, as a Model: the network "mlp" without hidden layers.

    `kind` is "softmax" or "linear_svm"; the scores of the latter are read as logits, so its probabilities are no more
    than an order until `striate calibrate` fits a temperature. InputError where it was not fitted, or on features of a
    network.
    """
    if kind not in LINEAR:
        raise InputError(f"the baselines that can be saved are {' and '.join(LINEAR)} but not {kind}")
    if found.pixel_side is None:
        raise InputError(
            "a baseline on a network's features cannot be saved as a model of pixels; "
            "striate train --weights WEIGHTS --train head trains the same classifier, as a model"
        )
    if kind not in found.models:
        raise InputError(f"{kind} was not fitted; add it to the baselines that are measured")
    side, channels, fit = found.pixel_side, found.channels, found.models[kind]
    config = MLPConfig(
        in_channels=channels, num_classes=len(found.class_names), image_size=(side, side), hidden_widths=()
    )
    network = MLP(config)
    tiles = weight_images(found, kind)
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(tiles.reshape(len(tiles), -1)))
        network.head.bias.copy_(torch.from_numpy(fit.biases))
    return Model(
        network.eval(),
        network_name="mlp",
        network_config=asdict(config),
        class_names=found.class_names,
        preprocessing=Preprocessing(
            channels=channels,
            resize_size=side,
            crop_size=(side, side),
            resize="stretch",
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
        ),
        provenance={"striate": __version__, "baseline": kind, "data": found.trained_on},
    )


def weight_images(found: Baselines, kind: str = "softmax") -> np.ndarray:
    """The weights of a linear classifier on pixels as images (K, C, H, W) float32."""
    fit, side = found.models[kind], found.pixel_side
    if side is None:
        raise InputError("weights on a network's features are no images")
    tiles = fit.weights.reshape(len(fit.weights), side, side, found.channels).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(tiles, np.float32)
