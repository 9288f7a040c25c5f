"""Factors of layers: exact at full rank, as good as theory says below it."""

import numpy as np
import pytest
import torch
from torch import nn

from striate.compression.low_rank import factor_convolution, factor_dense, factor_layers, rank_for
from striate.errors import InputError, ModelFileError
from striate.networks.catalogue import build_network
from striate.weights.structure import restructure


def test_dense_at_full_rank_and_below():
    layer = nn.Linear(12, 8)
    images = torch.randn(5, 12)
    assert torch.allclose(factor_dense(layer, 1.0)(images), layer(images), atol=1e-5)
    found = factor_dense(layer, 0.8)
    product = (found[1].weight @ found[0].weight).detach().numpy()
    values = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)
    rank = found[0].out_features
    error = np.square(layer.weight.detach().numpy() - product).sum()
    assert error == pytest.approx(
        np.square(values[rank:]).sum(), rel=1e-4
    )  # Eckart & Young: no matrix of this rank is nearer
    assert np.square(values[:rank]).sum() >= 0.8 * np.square(values).sum() > np.square(values[: rank - 1]).sum()


def test_convolution_at_full_rank_and_below():
    layer = nn.Conv2d(6, 10, 3, stride=2, padding=1, dilation=1)
    images = torch.randn(2, 6, 9, 9)
    assert torch.allclose(factor_convolution(layer, 1.0)(images), layer(images), atol=1e-4)
    found = factor_convolution(layer, 0.7)
    assert found(images).shape == layer(images).shape
    assert found[0].out_channels < 6
    assert found[1].out_channels < 10


def test_a_filter_of_rank_one():
    layer = nn.Conv2d(6, 10, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("o,i,hw->oihw", torch.randn(10), torch.randn(6), torch.randn(3, 3)))
    found = factor_convolution(layer, 0.999)
    assert (found[0].out_channels, found[1].out_channels) == (1, 1)
    images = torch.randn(2, 6, 9, 9)
    assert torch.allclose(found(images), layer(images), atol=1e-4)


def test_ranks_by_hand():
    values = torch.tensor([3.0, 2.0, 1.0])  # squares 9, 4, 1 of 14
    assert [rank_for(values, energy) for energy in (0.1, 9 / 14, 0.65, 13 / 14, 0.95, 1.0)] == [1, 1, 2, 2, 3, 3]


def test_only_what_gets_smaller_is_factored_and_a_fresh_network_takes_the_structure():
    network = build_network("lenet_300_100", seed=0)
    structure = factor_layers(network, 0.5)
    assert "fc1" in structure
    fresh = build_network("lenet_300_100", seed=1)
    restructure(fresh, structure)
    fresh.load_state_dict(network.state_dict())
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(fresh(images), network(images))
    with pytest.raises(InputError, match=r"must lie in \(0, 1\] but is 0"):
        factor_layers(network, 0.0)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ({"fc9": {"ranks": [2]}}, "'fc9', which the network lacks"),
        ({"fc1": {"ranks": [0]}}, "ranks of fc1 are"),
        ({"fc1": {"ranks": [10**6]}}, "ranks of fc1 are"),
        ({"fc1": {"ranks": [2, 2]}}, "ranks of fc1 are"),
        ({"fc1": {"out_features": 301}}, "not a number from 1 to 300"),
        ({"fc1": {"out_features": 2.0}}, "not a number from 1 to 300"),
        ({"fc1": {"weight": 3}}, "which its kind of layer lacks"),
        ({"relu1": {"num_features": 3}}, "which its kind of layer lacks"),
        ({"fc1": 3}, "which the network lacks"),
    ],
)
def test_a_structure_that_lies_is_refused(structure, message):
    with pytest.raises(ModelFileError, match=message):
        restructure(build_network("lenet_300_100"), structure)
