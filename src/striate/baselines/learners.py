"""Learners of many kinds as attackers and as attacked: what each predicts, and the images that it makes. N images, K
classes.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from striate.baselines.linear import choose_penalty, fit_linear
from striate.baselines.neighbors import choose_num_neighbors, nearest_places, neighbor_votes
from striate.baselines.smooth_neighbors import SmoothNeighbors
from striate.baselines.tree import fit_tree, nearest_other_leaf
from striate.errors import InputError
from striate.robustness.attacked import Callee
from striate.robustness.methods import METHODS
from striate.robustness.norms import find_norm

LEARNERS = ("softmax", "linear_svm", "knn", "tree")
"""The learners that are fitted to pixels by name."""
_CHOICE_QUERIES = 500

Make = Callable[[Tensor, Tensor], Tensor]
"""Images (N, C, H, W) in [0, 1] and labels (N,) -> images changed to fool, by no more than epsilon."""


@dataclass(frozen=True, eq=False)
class Learner:
    """A learner by name: `predict` gives outputs (N, K) of images, `make` the images that fool it, None where it cannot
    be followed.
    """

    name: str
    predict: Callee
    make: Make | None


@dataclass(frozen=True)
class Change:
    """How far images may be changed and by which attack of those with gradients, every step taken."""

    epsilon: float
    norm: str
    method: str
    seed: int = 0


def network_learner(name: str, network: Callee, change: Change) -> Learner:
    """A network from pixels in [0, 1] to logits; what is no module has no gradients, so it is attacked only."""
    return Learner(name, network, gradient_attack(network, change) if isinstance(network, nn.Module) else None)


def gradient_attack(network: nn.Module, change: Change) -> Make:
    """The method's images on this network. InputError for one that needs no gradients or does not know the norm."""
    method = METHODS.find(change.method)
    if change.norm not in method.norms or method.finds_smallest or not method.needs_gradients:
        raise InputError(
            f"images are made by an attack that follows gradients within epsilon by {change.norm}, such as mi_fgsm, "
            f"pgd or fgsm, not by {method.name}"
        )
    function = method.load()
    takes = inspect.signature(function).parameters
    options: dict[str, int] = {"stop_early": False} if "stop_early" in takes else {}
    options |= {"seed": change.seed} if "seed" in takes else {}

    def make(images: Tensor, labels: Tensor) -> Tensor:
        made: Tensor = function(network, images, labels, epsilon=change.epsilon, norm=change.norm, **options).images
        return made

    return make


def fit_learner(name: str, images: Tensor, labels: Tensor, num_classes: int, change: Change) -> Learner:
    """Fit a learner of LEARNERS to images (N, C, H, W) in [0, 1] with labels (N,). InputError for another name."""
    if name not in LEARNERS:
        raise InputError(f"a learner is one of {', '.join(LEARNERS)} but got {name!r}")
    pixels, wanted = images.flatten(1).numpy(), labels.numpy()
    if name == "tree":
        return _tree(pixels, wanted, num_classes, change)
    if name == "knn":
        return _neighbors(images, labels, num_classes, change)
    loss = "hinge" if name == "linear_svm" else "softmax"
    penalty = choose_penalty(pixels, wanted, num_classes, loss=loss, seed=change.seed)
    fit = fit_linear(pixels, wanted, num_classes, loss=loss, penalty=penalty)
    layer = nn.Linear(pixels.shape[1], num_classes)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(fit.weights))
        layer.bias.copy_(torch.from_numpy(fit.biases))
    return network_learner(name, nn.Sequential(nn.Flatten(), layer).eval(), change)


def _neighbors(images: Tensor, labels: Tensor, num_classes: int, change: Change) -> Learner:
    known, wanted = images.flatten(1), labels.numpy()
    rows = known.numpy()
    groups = np.arange(len(rows))
    chosen = choose_num_neighbors(rows, wanted, groups, num_classes, "l2", most_queries=_CHOICE_QUERIES)

    def predict(asked: Tensor) -> Tensor:
        places = nearest_places(rows, asked.flatten(1).numpy(), chosen.num_neighbors, "l2")
        return torch.from_numpy(neighbor_votes(wanted[places], num_classes)).float()

    smooth = SmoothNeighbors(known, labels, num_classes).eval()
    return Learner(f"knn, k = {chosen.num_neighbors}", predict, gradient_attack(smooth, change))


def _tree(pixels: np.ndarray, labels: np.ndarray, num_classes: int, change: Change) -> Learner:
    tree = fit_tree(pixels, labels, num_classes, seed=change.seed)
    norm = find_norm(change.norm)

    def predict(asked: Tensor) -> Tensor:
        return torch.from_numpy(tree.votes(asked.flatten(1).numpy()))

    def make(images: Tensor, wanted: Tensor) -> Tensor:
        moved = torch.from_numpy(nearest_other_leaf(tree, images.flatten(1).numpy(), wanted.numpy()))
        return norm.project(moved.view_as(images), images, change.epsilon)

    return Learner("tree", predict, make)
