import pytest
import torch
import torchvision
from torch import nn

from striate.errors import InputError
from striate.training.frozen.layer_groups import layer_groups, num_open_groups, open_groups, restored_modes
from training_cases import TinyNet


def names(groups):
    return [group.name for group in groups]


def test_every_layer_is_in_one_group_and_a_norm_goes_with_the_layer_before_it():
    network = TinyNet()
    stem, middle, head = layer_groups(network)
    assert names((stem, middle, head)) == ["conv1", "conv2", "fc"]
    assert stem.modules == (network.conv1, network.bn1)
    assert [id(p) for g in (stem, middle, head) for p in g.params] == [id(p) for p in network.parameters()]


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (torchvision.models.resnet18, ["conv1 to layer1.1", "layer2.0 to layer3.0", "layer3.1 to layer4.1", "fc"]),
        (
            torchvision.models.alexnet,
            ["features.0 to features.6", "features.8 to features.10", "classifier.1 to classifier.4", "classifier.6"],
        ),
        (
            torchvision.models.squeezenet1_1,
            ["features.0 to features.4", "features.6 to features.9", "features.10 to features.12", "classifier.1"],
        ),
        (torchvision.models.vit_b_16, None),
    ],
)
def test_known_networks_are_cut_into_three_groups_and_the_head(build, expected):
    with torch.device("meta"):
        network = build()
    groups = layer_groups(network)
    if expected is not None:
        assert names(groups) == expected
    assert len(groups) == 4
    assert {id(p) for g in groups for p in g.params} == {id(p) for p in network.parameters()}
    assert sum(len(g.params) for g in groups) == len(list(network.parameters()))


def test_a_named_head_takes_what_follows_it_along():
    groups = layer_groups(TinyNet(), head="conv2")
    assert names(groups) == ["conv1", "conv2 to fc"]


def test_a_head_inside_a_block_is_found():
    network = nn.Sequential(nn.Linear(2, 2), nn.ModuleDict({"body": nn.Linear(2, 2), "out": nn.Linear(2, 2)}))
    assert names(layer_groups(network, head="1.out")) == ["0", "1.body", "1.out"]


def test_a_single_layer_is_its_own_head():
    assert names(layer_groups(nn.Linear(2, 2))) == [""]


def test_what_the_user_froze_stays_frozen():
    network = TinyNet()
    network.conv1.requires_grad_(False)
    groups = layer_groups(network)
    open_groups(network, groups, len(groups))
    assert not network.conv1.weight.requires_grad
    assert network.bn1.weight.requires_grad


def test_errors():
    with pytest.raises(InputError, match=r"^the network has no layer with weights called 'relu1' to be its head; see"):
        layer_groups(TinyNet(), head="relu1")
    with pytest.raises(InputError, match=r"^the network has no parameter that requires a gradient; set requires_grad"):
        layer_groups(TinyNet().requires_grad_(False))


def test_frozen_groups_have_no_gradients_and_hold_their_batch_norms():
    network = TinyNet().eval()
    groups = layer_groups(network)
    with restored_modes(network):
        open_groups(network, groups, 1)
        assert [name for name, p in network.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
        assert not network.bn1.training
        assert network.dropout.training
        open_groups(network, groups, 3)
        assert network.bn1.training
        assert all(p.requires_grad for p in network.parameters())
        open_groups(network, groups, 1)
    assert not any(module.training for module in network.modules())
    assert all(p.requires_grad for p in network.parameters())


def test_gradual_opens_one_group_at_a_time_over_the_first_half():
    assert [num_open_groups("gradual", epoch, 12, 4) for epoch in range(12)] == [1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 4, 4]
    assert [num_open_groups("gradual", epoch, 2, 4) for epoch in range(2)] == [1, 4]
    assert num_open_groups("base", 9, 10, 4) == 1
    assert num_open_groups("lower", 9, 10, 4) == 2
    assert num_open_groups("lower", 0, 10, 1) == 1
    assert num_open_groups("nothing", 0, 10, 4) == 4
