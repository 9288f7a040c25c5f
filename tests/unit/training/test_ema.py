import copy

import pytest
import torch
from torch import nn

from striate.training.ema import MovingAverage
from training_cases import TinyNet


def test_average_follows_with_a_share_that_grows_to_the_decay():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = MovingAverage(network, decay=0.5)
    nn.init.ones_(network.weight)
    average.update(network, 1)  # keeps (1 + 1) / (10 + 1) = 2/11 of 0
    assert average.network.weight.item() == pytest.approx(9 / 11)
    average.update(network, 1000)  # keeps half
    assert average.network.weight.item() == pytest.approx(10 / 11)


def test_buffers_are_averaged_and_counters_copied():
    network = TinyNet()
    average = MovingAverage(network, decay=0.9)
    network.bn1.running_mean.fill_(1.1)
    network.bn1.num_batches_tracked.fill_(7)
    average.update(network, 1)
    assert torch.allclose(average.network.bn1.running_mean, torch.full((4,), 0.9))
    assert average.network.bn1.num_batches_tracked.item() == 7


def test_the_network_itself_is_left_alone_and_the_average_is_frozen():
    network = TinyNet().train()
    before = copy.deepcopy(network.state_dict())
    average = MovingAverage(network, decay=0.9)
    average.update(network, 1)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not average.network.training
    assert not any(param.requires_grad for param in average.network.parameters())
