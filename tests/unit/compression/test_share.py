"""Weight sharing: k-means by hand and beside scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

from striate.compression.share import by_kind, k_means, round_to_half, share, share_weight
from striate.errors import InputError


def test_k_means_by_hand():
    """From 0 and 10: {0, 1, 2} and {9, 10}."""
    centroids, indices = k_means(torch.tensor([10.0, 0.0, 1.0, 2.0, 9.0]), 2)
    assert centroids.tolist() == [1.0, 9.5]
    assert indices.tolist() == [1, 0, 0, 0, 1]


def test_k_means_beside_scikit_learn():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    centroids, indices = k_means(values, 16)
    first = np.linspace(float(values.min()), float(values.max()), 16)[:, None]
    other = KMeans(16, init=first, n_init=1, max_iter=300, tol=0).fit(values[:, None].numpy())
    assert np.allclose(np.sort(other.cluster_centers_[:, 0]), centroids, atol=1e-4)
    error = float((values - centroids[indices]).square().sum())
    assert error == pytest.approx(other.inertia_, rel=1e-4)


def test_zeros_stay_and_few_values_are_kept():
    weight = torch.tensor([[0.0, 1.0, 1.1], [-1.0, 0.0, -1.1]])
    share_weight(weight, 2)
    assert torch.allclose(weight, torch.tensor([[0.0, 1.05, 1.05], [-1.05, 0.0, -1.05]]))
    share_weight(weight, 2)  # again: nothing moves
    assert len(weight.unique()) == 3


def test_a_network():
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8, 40))
    values = by_kind(network, conv_bits=3, dense_bits=2)
    assert values == {"0": 8, "2": 4}
    share(network, values)
    assert len(network[0].weight.unique()) <= 8
    assert len(network[2].weight.unique()) <= 4
    with pytest.raises(InputError, match="'3' is no convolution"):
        share(network, {"3": 4})
    with pytest.raises(InputError, match="1 to 10 bits"):
        by_kind(network, conv_bits=11, dense_bits=2)


def test_rounding_to_half():
    network = nn.Linear(3, 3)
    network.weight.data[0, 0] = 1e9
    round_to_half(network)
    assert torch.equal(network.weight, network.weight.half().float())
