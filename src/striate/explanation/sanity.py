"""Sanity check of explanations: do maps depend on what the network has learnt? (Adebayo et al. 2018, arXiv:1810.03292,
section 3).
"""

import copy
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.explanation.batches import check_images
from striate.explanation.layers import layers_in_order
from striate.explanation.methods import Method
from striate.progress import Track, track_silently

UNCHANGED = 0.5
"""A rank correlation above this while the upper half of the layers is shuffled: the map shows little of what they have
learnt.
"""
_EXPECTED = " (known for it: arXiv:1810.03292)"


@dataclass(frozen=True)
class SanityCheck:
    """How alike a method's maps stay while the weights are shuffled from the head down.

    `similarities` are the means over images of the rank correlation of absolute maps with the first ones, [-1, 1],
    after the layers down to `layers[i]` are shuffled. `depends_on_weights`: with the upper half of them shuffled it is
    at most a half. All maps change once the first layer is shuffled too; those that show edges whatever the upper
    layers say are what the check finds. Maps that are the same everywhere do not count; NaN where that is so of all, as
    when the shuffled score is always 0.
    """

    method: str
    layers: tuple[str, ...]
    similarities: tuple[float, ...]
    planes: tuple[np.ndarray, ...]
    expectation: str = ""

    @property
    def depends_on_weights(self) -> bool:
        return not abs(self.similarities[len(self.similarities) // 2]) > UNCHANGED

    def to_json(self) -> dict[str, Any]:
        """{"method", "stages": [{"layer", "rank_correlation"}], "depends_on_weights", "note"}"""
        stages = [
            {"layer": layer, "rank_correlation": similarity}
            for layer, similarity in zip(self.layers, self.similarities, strict=True)
        ]
        return {
            "method": self.method,
            "stages": stages,
            "depends_on_weights": self.depends_on_weights,
            "note": self.expectation,
        }


def check_sanity(
    network: nn.Module,
    images: Tensor,
    classes: Tensor,
    methods: Sequence[Method],
    *,
    layer: str | None = None,
    num_stages: int = 5,
    seed: int = 0,
    track: Track = track_silently,
) -> list[SanityCheck]:
    """Shuffle the weights of a copy layer by layer from the head down, in `num_stages` stages, and compare each
    method's maps.

    Each parameter's numbers are put in another order, which keeps their distribution, where the paper draws new ones.
    Images (N, C, H, W), classes (N,). Raises InputError for a network without parameters.
    """
    images = check_images(network, images)
    names = layers_in_order(network, images)
    if not names or num_stages < 1:
        raise InputError("a sanity check needs a network with parameters and at least one stage")
    trial = copy.deepcopy(getattr(network, "_orig_mod", network))
    stages = _stages(names[::-1], num_stages)
    generator = torch.Generator().manual_seed(seed)
    first = {method.name: _planes(method, trial, images, classes, layer) for method in methods}
    similarities: dict[str, list[float]] = {method.name: [] for method in methods}
    shown = {method.name: [first[method.name][0]] for method in methods}
    for stage in track(stages, "shuffling weights", len(stages)):
        _shuffle(trial, stage, generator)
        for method in methods:
            planes = _planes(method, trial, images, classes, layer)
            pairs = zip(first[method.name], planes, strict=True)
            alike = [rank_correlation(*pair) for pair in pairs]
            similarities[method.name].append(_mean([each for each in alike if not math.isnan(each)]))
            shown[method.name].append(planes[0])
    last = tuple(stage[-1] for stage in stages)
    return [
        SanityCheck(
            method.name,
            last,
            tuple(similarities[method.name]),
            tuple(shown[method.name]),
            _EXPECTED if method.is_insensitive else "",
        )
        for method in methods
    ]


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of the absolute values of two maps, [-1, 1]; NaN where either is the same
    everywhere.
    """
    ranks = [_average_ranks(np.abs(plane).ravel()) for plane in (one, other)]
    first, second = (each - each.mean() for each in ranks)
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale > 0 else math.nan


def _average_ranks(values: np.ndarray) -> np.ndarray:
    """The ranks of values (n,), from 1; equal values share the mean of theirs: scipy.stats.rankdata without its slow
    import.
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _planes(method: Method, network: nn.Module, images: Tensor, classes: Tensor, layer: str | None) -> list[np.ndarray]:
    options: dict[str, Any] = {"layer": layer} if method.takes_layer else {}
    maps = method.run(network, images, classes=classes, **options).cpu().numpy()
    return [method.to_plane(each) for each in maps]


def _stages(names: list[str], num_stages: int) -> list[list[str]]:
    """The head alone, then the other layers in stages of about the same number."""
    rest, count = names[1:], min(num_stages - 1, len(names) - 1)
    bounds = [round(place * len(rest) / count) for place in range(count + 1)] if count else [0]
    return [names[:1], *(rest[low:high] for low, high in itertools.pairwise(bounds))]


def _shuffle(network: nn.Module, names: Iterable[str], generator: torch.Generator) -> None:
    for name in names:
        for param in network.get_submodule(name).parameters(recurse=False):
            order = torch.randperm(param.numel(), generator=generator).to(param.device)
            with torch.no_grad():
                param.copy_(param.flatten()[order].view_as(param))
