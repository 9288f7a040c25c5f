"""Ten steps twice: equal on the CPU, and told where a network draws numbers of its own."""

import random

import pytest
import torch
from torch import nn

from striate.training.repeatability import verify_steps
from striate.training.step import NonFiniteLoss
from training_cases import TinyNet, cpu_fabric, tiny_feed, tiny_recipe


class Restless(nn.Module):
    """Multiplies by a number from Python's generator, which no seed of striate's reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = TinyNet()

    def forward(self, images):
        return self.inner(images) * random.uniform(0.5, 1.5)


def test_steps_are_equal_and_leave_no_trace():
    network = TinyNet()
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    found = verify_steps(network, tiny_recipe(), tiny_feed(), fabric=cpu_fabric())
    assert found.is_equal
    assert found.num_steps == 10
    assert found.step is None
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_that_draws_by_itself_is_told():
    found = verify_steps(Restless(), tiny_recipe(), tiny_feed(), fabric=cpu_fabric(), num_steps=3)
    assert not found.is_equal
    assert found.step == 1
    assert found.tensor.startswith("inner.")
    assert found.max_difference > 0
    assert found.reasons == ("with one thread they differ too: an operator or the network draws at random",)
    assert found.to_json()["is_equal"] is False


def test_a_loss_that_is_not_finite():
    class Broken(TinyNet):
        def forward(self, images):
            return super().forward(images) * float("nan")

    with pytest.raises(NonFiniteLoss):
        verify_steps(Broken(), tiny_recipe(), tiny_feed(), fabric=cpu_fabric(), num_steps=2)
