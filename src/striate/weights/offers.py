"""The published weights that a newcomer with a few hundred photos is told of."""

from pathlib import Path

import torch

from striate.data.cache import cache_dir
from striate.networks.catalogue import entry_for
from striate.networks.entry import Entry, Weights

LIGHT = "squeezenet1_1"
"""Offered where the network itself has no published weights: 5 MB."""


def offer_of_weights(entry: Entry, num_train: int) -> str:
    """One line that says what published weights would do for so few training images, and the words that ask for
    them.
    """
    offered = entry if entry.weights else entry_for(LIGHT)
    weights = offered.weights[0]
    named = "" if offered.name == entry.name == "resnet18" else f" --network {offered.name}"
    size = f"{weights.size_bytes / 1e6:.0f} MB"
    how = f"(they are here already, {size})" if is_here(weights) else f"--download ({size}, once)"
    return (
        f"{num_train:,} training images are few to start from scratch with: weights that were trained on a million "
        f"photos usually do far better, and sooner. To take them: --weights {weights.name}{named} {how}"
    )


def is_here(weights: Weights) -> bool:
    """Whether the published file lies in striate's cache or in torch's."""
    name = weights.url.rpartition("/")[2]
    places = (cache_dir() / "weights" / name, Path(torch.hub.get_dir()) / "checkpoints" / name)
    return any(place.is_file() for place in places)
