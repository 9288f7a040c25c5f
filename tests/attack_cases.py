"""A small trained network from pixels to logits, and images for attacks to be tried on."""

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Scikit-learn's digits, images (1797, 1, 8, 8) in [0, 1], labels (1797,)."""
    loaded = load_digits()
    return torch.tensor(loaded.images / 16, dtype=torch.float32)[:, None], torch.tensor(loaded.target)


@cache
def _weights() -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images, labels = digits()
        network = _untrained()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(4):
            for rows in torch.randperm(1500).split(100):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
                optimizer.step()
    return network.state_dict()


def _untrained() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(72, 10),
    )  # fmt: skip


def digit_network() -> nn.Module:
    """A convolutional network trained for four epochs, about 97 % of held-out digits correct, in training mode."""
    network = _untrained()
    network.load_state_dict(_weights())
    return network.train()


def held_out(count: int = 40) -> tuple[Tensor, Tensor]:
    """Digits that the network was not trained on."""
    images, labels = digits()
    return images[1500 : 1500 + count], labels[1500 : 1500 + count]
