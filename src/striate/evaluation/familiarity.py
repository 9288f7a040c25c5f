"""How usual an image is for a model: the distance of its features from those of training images, and the energy of its
logits.

Distance: to the k-th nearest of the training images' features, all of length 1 (Sun et al. 2022, arXiv:2204.06507, eq.
1). Energy: minus the logarithm of the sum of exp(logits) (Liu et al. 2020, arXiv:2010.03759, eq. 4). Each becomes the
fraction of validation images that are at least as strange, a conformal p-value: of images of the model's own kind a
fraction `level` at most is called unfamiliar.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.opening import Access
from striate.errors import InputError
from striate.evaluation.evaluate_model import open_parts, own_data
from striate.evaluation.evaluate_network import plain_batches
from striate.evaluation.frozen_features import as_rows, last_weighted_layer
from striate.evaluation.nearest import directions, nearest_rows
from striate.networks.hooks import module_hooks
from striate.networks.restore import evaluating
from striate.tasks.classification.logits import class_logits
from striate.tasks.classification.predictions import Familiarity
from striate.tasks.model import Model

NUM_NEIGHBORS = 10
_MOST_KNOWN, _MOST_HELD = 5_000, 2_000
_FEWEST_HELD = 20


@dataclass(frozen=True, eq=False)
class FamiliarityFit:
    """Features (N, D) of known images, of length 1, and the sorted distances and energies (n,) of held-out ones of the
    same kind.
    """

    layer: str
    known: np.ndarray
    distances: np.ndarray
    energies: np.ndarray
    source: str

    def familiarity(self, features: np.ndarray, logits: np.ndarray, level: float) -> list[Familiarity]:
        """Of features (m, D) and logits (m, K)."""
        far = fraction_at_least(self.distances, feature_distances(self.known, features))
        odd = fraction_at_least(self.energies, energy(logits))
        return [Familiarity(float(a), float(b), bool(a <= level)) for a, b in zip(far, odd, strict=True)]


def fit_familiarity(
    model: Model,
    source: str | Path | None = None,
    *,
    batch_size: int = 64,
    seed: int = 0,
    access: Access | None = None,
) -> FamiliarityFit:
    """Learn what is usual from the training and validation images of the model's own training, or of another source.

    A source without both parts has its images divided by the seed. Of each part at most some thousands are drawn.
    InputError for a model that does not say what it was trained on where no source is named, or too few images.
    """
    access = access or Access()
    if not model.task.has_probabilities:
        raise InputError(f"unfamiliar images are flagged for classifiers but this model is for {model.task.name}")
    if source is None and own_data(model.provenance) is None:
        raise InputError(
            "this model does not say which data it was trained on; name images of its own kind with --calibrate-on"
        )
    opened = open_parts(model, source, access)
    draw = np.random.default_rng(seed)
    train, held = opened.parts["train"], opened.parts["validation"]
    if not len(train) or not len(held):
        order = draw.permutation(opened.parts["all"])
        train, held = order[len(order) // 3 :], order[: len(order) // 3]
    train, held = (draw.permutation(part[opened.packed.usable[part]]) for part in (train, held))
    train, held = np.sort(train[:_MOST_KNOWN]), np.sort(held[:_MOST_HELD])
    if len(held) < _FEWEST_HELD or len(train) <= NUM_NEIGHBORS:
        raise InputError(
            f"{opened.dataset.source} has {len(train)} images to know and {len(held)} to compare; "
            f"unfamiliar images need more than {NUM_NEIGHBORS} and at least {_FEWEST_HELD}"
        )
    layer, parts = "", []
    for part in (train, held):
        rows, logits = [], []
        batches = plain_batches(opened.packed, part, model.preprocessing, batch_size, model.device)
        for images in access.track(batches, "learning what is usual", -(-len(part) // batch_size)):
            layer = layer or layer_of(model, images)
            features, values = features_and_logits(model.network, images, layer)
            rows.append(features)
            logits.append(values)
        parts.append((np.concatenate(rows), np.concatenate(logits)))
    known = directions(parts[0][0])
    return FamiliarityFit(
        layer=layer,
        known=known,
        distances=np.sort(feature_distances(known, parts[1][0])),
        energies=np.sort(energy(parts[1][1])),
        source=opened.dataset.source,
    )


def layer_of(model: Model, images: Tensor) -> str:
    """The last layer with weights, whose input are the features."""
    with evaluating(model.network), torch.no_grad():
        return last_weighted_layer(model.network, images[:1])


def features_and_logits(network: nn.Module, images: Tensor, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """What goes into `layer` for the network's own input (n, C, H, W), (n, D), and the logits (n, K), in one pass."""
    inputs: list[Tensor] = []

    def before(name: str, args: Any) -> None:
        if name == layer and not inputs:
            inputs.append(args[0])

    # not through PixelModel: the batches of a source come normalised, read ahead as in evaluation
    with evaluating(network), torch.no_grad(), module_hooks(network, before, lambda *_: None):
        logits = class_logits(network(images)).float().cpu().numpy()
    return as_rows(inputs[0]), logits


def feature_distances(known: np.ndarray, features: np.ndarray, count: int = NUM_NEIGHBORS) -> np.ndarray:
    """The distance (n,) of each of the features (n, D), brought to length 1, to its `count`-th nearest of known (N,
    D).
    """
    _, squares = nearest_rows(known, directions(features), count)
    result: np.ndarray = np.sqrt(squares[:, -1])
    return result


def energy(logits: np.ndarray) -> np.ndarray:
    """-log sum exp of logits (n, K): high where the network has no reason for any class."""
    most = logits.max(axis=1)
    result: np.ndarray = -(most + np.log(np.exp(logits - most[:, None]).sum(axis=1)))
    return result


def fraction_at_least(usual: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(1 + how many of the sorted usual scores (n,) are at least as high) / (n + 1), of each of the scores (m,)."""
    above = len(usual) - np.searchsorted(usual, scores, side="left")
    result: np.ndarray = (1 + above) / (len(usual) + 1)
    return result
