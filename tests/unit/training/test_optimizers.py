import pytest
import torch

from striate.errors import InputError
from striate.training.frozen.layer_groups import layer_groups
from striate.training.optimizers import build_optimizer, set_rates
from striate.training.recipe import OptimizerConfig
from training_cases import TinyNet


def build(network, name="nesterov", factor=1.0, **changes):
    return build_optimizer(OptimizerConfig(name, **changes), layer_groups(network), layer_rate_factor=factor)


def test_decay_reaches_weights_and_neither_biases_nor_norms():
    network = TinyNet()
    optimizer = build(network, weight_decay=0.5)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(network.conv1.weight), id(network.conv2.weight), id(network.fc.weight)}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))


def test_earlier_groups_have_smaller_rates():
    network = TinyNet()
    optimizer = build(network, factor=0.5, learning_rate=0.8)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(network.fc.weight)] == 0.8
    assert rates[id(network.conv2.bias)] == 0.4
    assert rates[id(network.bn1.weight)] == 0.2
    set_rates(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.08, 0.04, 0.02])


def test_norms_may_have_a_rate_of_their_own():
    network = TinyNet()
    optimizer = build(network, factor=0.5, learning_rate=0.8, norm_rate_factor=64.0)
    rates = {id(p): group["peak_rate"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(network.bn1.weight)] == rates[id(network.bn1.bias)] == pytest.approx(64 * 0.2)
    assert rates[id(network.conv1.weight)] == rates[id(network.conv1.bias)] == pytest.approx(0.2)
    with pytest.raises(InputError, match="a norm rate factor of 64 was asked for"):
        build(network, "lbfgs", norm_rate_factor=64.0)


def test_equal_settings_share_one_parameter_group():
    assert len(build(TinyNet()).param_groups) == 1
    assert len(build(TinyNet(), weight_decay=0.1).param_groups) == 2


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "muon"])
@pytest.mark.parametrize("use_fused", [True, False])
def test_every_optimizer_goes_down_a_bowl(name, use_fused):
    network = torch.nn.Linear(3, 1, bias=False)
    optimizer = build_optimizer(OptimizerConfig(name, learning_rate=0.01), layer_groups(network), use_fused=use_fused)
    before = network.weight.square().sum().item()
    for _ in range(20):
        optimizer.zero_grad()
        network.weight.square().sum().backward()
        optimizer.step()
    assert network.weight.square().sum().item() < before


def test_nesterov_without_momentum_is_plain_descent():
    assert build(TinyNet(), momentum=0.0).defaults["nesterov"] is False


def test_lbfgs_says_what_it_cannot_do():
    with pytest.raises(
        InputError, match=r"^lbfgs has no weight decay but 0.1 was asked for; set it to 0 or take adamw$"
    ):
        build(TinyNet(), "lbfgs", weight_decay=0.1)
    with pytest.raises(
        InputError, match=r"^lbfgs has one rate for all layers but a layer rate factor of 0.5 was asked"
    ):
        build(TinyNet(), "lbfgs", factor=0.5)
