"""Muon by hand and by singular values; against PyTorch's own in tests/oracle/test_muon.py."""

import copy
import math

import pytest
import torch
from torch import nn

from striate.errors import InputError
from striate.training import muon
from striate.training.frozen.layer_groups import layer_groups
from striate.training.muon import Muon, orthogonalized
from striate.training.optimizers import build_optimizer
from striate.training.recipe import OptimizerConfig
from training_cases import TinyNet


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def with_gradients(network, seed=0):
    for number, param in enumerate(network.parameters()):
        param.grad = draw(*param.shape, seed=100 * seed + number)
    return network


def muon_of(network, **changes):
    return build_optimizer(OptimizerConfig("muon", **changes), layer_groups(network))


@pytest.fixture
def in_float32(monkeypatch):
    """As on a device that only multiplies bfloat16 by way of float32."""
    monkeypatch.setattr(muon, "has_fast_bf16", lambda _device: False)


@pytest.mark.usefixtures("in_float32")
def test_one_iteration_by_hand():
    """diag(3, 4) has norm 5: 0.6 and 0.8 go through the quintic, the zero stays."""

    def quintic(x):
        return 3.4445 * x - 4.775 * x**3 + 2.0315 * x**5

    (found,) = orthogonalized([torch.tensor([[3.0, 0, 0], [0, 4, 0], [0, 0, 0]])], 1)
    expected = torch.diag(torch.tensor([quintic(0.6), quintic(0.8), 0.0]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("shape", [(4, 6), (64, 216), (256, 64), (10, 10), (1, 7), (128, 1152)])
@pytest.mark.parametrize("num_iterations", [3, 5])
def test_the_singular_vectors_stay_and_the_values_come_near_one(shape, num_iterations):
    matrix = draw(*shape)
    (found,) = orthogonalized([matrix], num_iterations)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ found @ right.T
    values = inner.diagonal()
    assert 0.3 < values.min() <= values.max() < 1.3
    torch.testing.assert_close(left @ torch.diag(values) @ right, found, rtol=0, atol=1e-4)


def test_16_bits_say_the_same_in_fewer_digits(monkeypatch):
    found = []
    for is_fast in (True, False):
        monkeypatch.setattr(muon, "has_fast_bf16", lambda _device, is_fast=is_fast: is_fast)
        found += orthogonalized([draw(32, 288)])
    assert not torch.equal(*found)
    torch.testing.assert_close(*found, rtol=0, atol=4e-3)  # entries near 1 / sqrt(288), eight bits each


@pytest.mark.usefixtures("in_float32")
def test_matrices_of_one_size_computed_together_are_those_computed_alone():
    matrices = [draw(6, 9, seed=1), draw(9, 6, seed=2), torch.zeros(6, 9), draw(6, 9, seed=3), 1e6 * draw(2, 3)]
    for matrix, found in zip(matrices, orthogonalized(matrices), strict=True):
        torch.testing.assert_close(found, orthogonalized([matrix])[0])
    assert torch.equal(orthogonalized(matrices)[2], torch.zeros(6, 9))


def test_whole_matrices_before_the_head_get_orthogonal_updates():
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3, groups=2),
        nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 3),
    )  # fmt: skip
    optimizer = muon_of(network, learning_rate=0.2, weight_decay=0.01, norm_rate_factor=64.0, other_rate_factor=0.5)
    settings = {
        id(param): (group["is_orthogonal"], group["peak_rate"], group["weight_decay"])
        for group in optimizer.param_groups
        for param in group["params"]
    }
    assert settings[id(network[0].weight)] == settings[id(network[5].weight)] == (True, 0.2, 0.01)
    for module in (network[2], network[3], network[6]):
        assert settings[id(module.weight)] == (False, 0.1, 0.01)
    assert settings[id(network[0].bias)] == (False, 0.1, 0.0)
    assert settings[id(network[1].weight)] == (False, 6.4, 0.0)


def test_an_update_turns_unit_filters_by_the_rate():
    """A bank of 4 filters has norm 2; its update has norm 2 as well, its singular values being about 1."""
    network = with_gradients(TinyNet())
    gradient = network.conv1.weight.grad
    before = network.conv1.weight.detach().clone()
    muon_of(network, learning_rate=0.1, use_unit_filters=True).step()
    (update,) = orthogonalized([gradient.flatten(1)])
    torch.testing.assert_close(
        network.conv1.weight.detach().flatten(1), 2 * (before / before.norm()).flatten(1) - 0.1 * update
    )
    assert update.norm() == pytest.approx(2, rel=0.2)


@pytest.mark.usefixtures("in_float32")
def test_decay_and_the_scale_of_tall_matrices():
    """12 rows of 3: the update grows by sqrt(12 / 3), and the weights shrink by rate times decay."""
    network = with_gradients(nn.Sequential(nn.Linear(3, 12), nn.Linear(12, 2)))
    before = network[0].weight.detach().clone()
    gradient = network[0].weight.grad
    muon_of(network, learning_rate=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(network[0].weight.detach(), 0.95 * before - 0.1 * 2 * orthogonalized([gradient])[0])


@pytest.mark.parametrize("use_fused", [True, False])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_all_else_goes_by_pytorchs_sgd(use_fused, momentum):
    network = TinyNet()
    plain = copy.deepcopy(network)
    config = OptimizerConfig("muon", learning_rate=0.1, momentum=momentum, weight_decay=0.1, other_rate_factor=0.5)
    optimizer = build_optimizer(config, layer_groups(network), use_fused=use_fused)
    others = [param for name, param in plain.named_parameters() if not name.startswith("conv") or "bias" in name]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in others if p.ndim == 1]},
    ]
    theirs = torch.optim.SGD(groups, lr=0.05, momentum=momentum, nesterov=momentum > 0)
    for step in range(3):
        for each, own in ((network, optimizer), (plain, theirs)):
            with_gradients(each, seed=step)
            own.step()
    for (name, ours), param in zip(network.named_parameters(), plain.parameters(), strict=True):
        if any(param is other for other in others):
            torch.testing.assert_close(ours, param, msg=lambda text, name=name: f"{name}: {text}")


def test_parameters_without_a_gradient_stay_and_may_join_later():
    network = with_gradients(TinyNet())
    optimizer = muon_of(network)
    network.conv1.weight.grad = network.fc.bias.grad = None
    before = copy.deepcopy(network.state_dict())
    optimizer.step()
    assert torch.equal(network.conv1.weight, before["conv1.weight"])
    assert torch.equal(network.fc.bias, before["fc.bias"])
    assert not torch.equal(network.conv2.weight, before["conv2.weight"])
    with_gradients(network)
    optimizer.step()
    assert not torch.equal(network.conv1.weight, before["conv1.weight"])
    assert not torch.equal(network.fc.bias, before["fc.bias"])


def test_a_copy_and_one_that_is_taken_up_go_on_alike():
    network = TinyNet()
    optimizer = muon_of(network, learning_rate=0.05, use_unit_filters=True)
    with_gradients(network)
    optimizer.step()
    other = copy.deepcopy(network)
    taken_up = muon_of(other, learning_rate=0.05, use_unit_filters=True)
    taken_up.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, own in ((network, optimizer), (other, taken_up)):
        with_gradients(each, seed=1)
        own.step()
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_and_gradients_of_nothing_do_no_harm():
    network = TinyNet()
    for param in network.parameters():
        param.detach().zero_()
        param.grad = torch.zeros_like(param)
    muon_of(network, use_unit_filters=True).step()
    assert all(torch.equal(param, torch.zeros_like(param)) for param in network.parameters())


def test_a_closure_is_evaluated_with_gradients():
    network = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 1, bias=False))
    optimizer = muon_of(network, learning_rate=0.01)

    def closure():
        optimizer.zero_grad()
        loss = network(torch.ones(1, 3)).square().sum()
        loss.backward()
        return loss.item()

    losses = [optimizer.step(closure) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert math.isfinite(losses[-1])
    assert isinstance(optimizer, Muon)


@pytest.mark.parametrize("change", [{"other_rate_factor": 2.0}, {"use_unit_filters": True}])
def test_its_settings_are_refused_with_another_optimizer(change):
    with pytest.raises(
        InputError,
        match=r"^other_rate_factor and use_unit_filters are muon's but the optimizer is adamw; leave them out$",
    ):
        OptimizerConfig("adamw", **change)
