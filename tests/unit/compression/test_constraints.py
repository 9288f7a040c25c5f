"""Training what is left: zeros stay, shared weights move together, the network itself is left alone until the end."""

import torch
from torch import nn

from striate.compression.constraints import constrained_copy, take_weights


def sparse_network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(20, 20), nn.BatchNorm1d(20), nn.Linear(20, 2))
    with torch.no_grad():
        network[0].weight.masked_fill_(torch.rand(20, 20) < 0.5, 0.0)
        network[2].weight.copy_(torch.where(network[2].weight > 0, 0.5, -0.25))
    return network


def step(network: nn.Module) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(16, 20)).square().sum().backward()
        optimizer.step()


def test_zeros_and_shared_weights():
    network = sparse_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trainee = constrained_copy(network)
    step(trainee)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())
    take_weights(network, trainee)
    assert list(network.state_dict()) == list(before)
    first, last = network[0].weight, network[2].weight
    assert torch.equal(first == 0, before["0.weight"] == 0)
    assert not torch.equal(first, before["0.weight"])
    assert len(last.unique()) == 2
    assert torch.equal(last == last.max(), before["2.weight"] == 0.5)
    assert not torch.equal(last, before["2.weight"])
    assert not torch.equal(network[1].running_mean, before["1.running_mean"])


def test_the_gradient_of_a_centroid_is_the_sum_of_its_weights():
    network = nn.Sequential(nn.Linear(20, 2, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([1.0, -1.0])[torch.arange(40).reshape(2, 20) % 2])
    images = torch.randn(5, 20)
    network(images).square().sum().backward()
    trainee = constrained_copy(network)
    trainee(images).square().sum().backward()
    codebook = trainee[0].parametrizations.weight.original
    assert codebook.tolist() == [-1.0, 1.0]
    grad = network[0].weight.grad
    expected = torch.stack([grad[network[0].weight == value].sum() for value in (-1.0, 1.0)])
    assert torch.allclose(codebook.grad, expected, rtol=1e-5)


def test_shared_weights_may_move_apart():
    trainee = constrained_copy(sparse_network(), keeps_shared=False)
    step(trainee)
    assert len(trainee[2].weight.unique()) > 2
