"""Random layers draw for the whole batch: the shares of three processes, side by side, are what one process draws."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.data.sampling import batch_slice
from striate.layers.drop_connect import DropConnectLinear
from striate.networks.catalogue import build_network
from striate.training.distributed.global_batch import GlobalBatch

N = 8
MAPS = torch.arange(N * 6 * 5 * 5, dtype=torch.float32).reshape(N, 6, 5, 5)

LAYERS = {
    "dropout": lambda maps: F.dropout(maps, 0.4),
    "dropout of channels last": lambda maps: F.dropout(maps.contiguous(memory_format=torch.channels_last), 0.4),
    "dropout in place": lambda maps: F.dropout(maps.clone(), 0.4, inplace=True),
    "dropout of whole maps": lambda maps: F.dropout2d(maps, 0.4),
    "no dropout": lambda maps: F.dropout(maps, 0.4, training=False),
    "bernoulli_": lambda maps: maps.new_empty(len(maps), 1).bernoulli_(0.3),
    "bernoulli": lambda maps: torch.bernoulli(torch.sigmoid(maps - 600)),
    "rand": lambda maps: torch.rand(len(maps)),
    "rand of a tuple": lambda maps: torch.rand((len(maps), 4)),
    "randn of size": lambda maps: torch.randn(size=(len(maps), 4)),
    "randint": lambda maps: torch.randint(7, (len(maps),)),
    "rand_like": lambda maps: torch.rand_like(maps),
    "normal_": lambda maps: torch.empty(len(maps), 2).normal_(1.0, 3.0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_shares_side_by_side_are_the_whole(name):
    torch.manual_seed(5)
    expected = LAYERS[name](MAPS)
    parts = []
    for rank in range(3):
        share = batch_slice(N, rank, 3)
        torch.manual_seed(5)
        with GlobalBatch(share):
            parts.append(LAYERS[name](MAPS[share.start : share.stop]))
    assert torch.equal(torch.cat(parts), expected)


def test_another_dimension_can_be_that_of_the_images():
    torch.manual_seed(5)
    expected = torch.rand(5, N)
    torch.manual_seed(5)
    with GlobalBatch(batch_slice(N, 1, 2)):
        assert torch.equal(torch.rand(5, N // 2), expected[:, N // 2 :])


def test_what_is_drawn_for_the_batch_or_for_weights_is_the_same_in_all():
    weights = nn.Parameter(torch.ones(4, 4))  # as many rows as there are images in a share
    drawn = []
    for rank in range(2):
        torch.manual_seed(5)
        with GlobalBatch(batch_slice(N, rank, 2)):
            drawn.append(torch.cat([torch.rand(()).view(1), torch.rand(3), F.dropout(weights, 0.5).flatten()]))
    assert torch.equal(*drawn)


def test_a_generator_of_ones_own_is_left_alone():
    expected = torch.rand(4, generator=torch.Generator().manual_seed(1))
    with GlobalBatch(batch_slice(N, 1, 2)):
        assert torch.equal(torch.rand(4, generator=torch.Generator().manual_seed(1)), expected)


@pytest.mark.parametrize("name", ["fractalnet20_cifar", "drop connect"])
def test_networks_with_paths_and_connections_of_their_own(name):
    if name == "drop connect":
        network, images = DropConnectLinear(3, 2), torch.randn(N, 3)
    else:
        network = build_network(name, num_classes=3, in_channels=1, seed=0).double()
        for module in network.modules():  # their statistics need all processes: see test_processes
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        images = torch.randn(N, 1, 32, 32, dtype=torch.float64)
    torch.manual_seed(5)
    expected = network(images)
    parts = []
    for rank in range(2):
        share = batch_slice(N, rank, 2)
        torch.manual_seed(5)
        with GlobalBatch(share):
            parts.append(network(images[share.start : share.stop]))
    torch.testing.assert_close(torch.cat(parts), expected)
