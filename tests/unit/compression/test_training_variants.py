"""Weights of few values, distillation, corrected biases, Fisher information and sensitivity, each by hand or beside
autograd.
"""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from striate.compression.allocate import Option, allocate, loss_of, options_of, price_for
from striate.compression.bias_correction import correcting_biases
from striate.compression.constraints import take_weights
from striate.compression.distil import Distilled
from striate.compression.few_values import Binary, Ternary, with_few_values
from striate.compression.fisher import fisher_diagonal
from striate.compression.sensitivity import Curve, equal_rise, sensitivity_curves
from striate.compression.share import share_weight


def test_ternary_by_hand():
    """Threshold 0.05 of 1: three weights are positive, one negative, one zero; gradients as equations 7 and 8 have
    them, 7 as a mean.
    """
    weight = torch.tensor([[1.0, 0.5, 0.3, -0.8, 0.01]], requires_grad=True)
    module = Ternary()
    _, positive, negative = module.right_inverse(weight.detach())
    assert (float(positive), float(negative)) == pytest.approx((0.6, 0.8))
    positive, negative = (each.clone().requires_grad_() for each in (positive, negative))
    found = module(weight, positive, negative)
    assert found.flatten().tolist() == pytest.approx([0.6, 0.6, 0.6, -0.8, 0.0])
    (found * torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])).sum().backward()
    assert float(positive.grad) == pytest.approx(6 / 3)
    assert float(negative.grad) == -4
    assert weight.grad.flatten().tolist() == pytest.approx([0.6, 1.2, 1.8, 3.2, 5.0])


def test_binary_by_hand():
    """Each filter is its signs times its mean magnitude; the gradient is equation 6."""
    weight = torch.tensor([[0.5, -1.5], [2.0, 2.0]], requires_grad=True)
    found = Binary()(weight)
    assert found.tolist() == [[1.0, -1.0], [2.0, 2.0]]
    found.backward(torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    # first filter: through the mean (1 * 1 + 1 * -1) / 2 = 0; the sign lets 0.5 pass and 1.5 not. Second: mean 1 / 2,
    # no sign
    assert weight.grad.tolist() == [[1.0, 0.0], [0.5, 0.5]]


@pytest.mark.parametrize(("kind", "most"), [("ternary", 3), ("binary", 8)])
def test_a_network_of_few_values_trains_and_keeps_first_and_last(kind, most):
    network = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    trainee = with_few_values(network, kind)
    optimizer = torch.optim.SGD(trainee.parameters(), lr=0.1)
    trainee(torch.randn(8, 6)).square().sum().backward()
    optimizer.step()
    take_weights(network, trainee)
    assert len(network[2].weight.unique()) <= most
    assert len(network[0].weight.unique()) == 24
    assert len(network[4].weight.unique()) == 8


def test_distillation_is_the_gradient_of_the_papers_loss():
    student, teacher = nn.Linear(5, 3), nn.Linear(5, 3)
    images, labels = torch.randn(7, 5), torch.randint(0, 3, (7,))
    temperature, weight = 3.0, 0.7
    logits = student(images)
    soft = F.kl_div(
        (logits / temperature).log_softmax(1), (teacher(images) / temperature).softmax(1), reduction="batchmean"
    )
    ((1 - weight) * F.cross_entropy(logits, labels) + weight * temperature**2 * soft).backward()
    expected = student.weight.grad.clone()
    student.zero_grad()
    distilled = Distilled(student, teacher, temperature=temperature, soft_weight=weight).train()
    F.cross_entropy(distilled(images), labels).backward()
    assert torch.allclose(student.weight.grad, expected, atol=1e-6)
    assert len(list(distilled.parameters())) == 2
    assert teacher.training
    assert torch.equal(distilled.eval()(images), student(images))


def test_biases_keep_the_mean_of_every_channel():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 4))
    images = torch.randn(20, 3, 8, 8)
    first, last = network[0](images), network(images)
    with correcting_biases(network, images):
        share_weight(network[0].weight, 2)
    assert torch.allclose(network[0](images).mean((0, 2, 3)), first.mean((0, 2, 3)), atol=1e-5)
    with correcting_biases(network, None):
        share_weight(network[3].weight, 2)
    assert not torch.allclose(network(images).mean(0), last.mean(0), atol=1e-4)


def test_fisher_information_of_a_linear_classifier():
    """For logits W x it is the mean over images of (p - one-hot)^2 x^2, the label drawn from p; with two classes p (1 -
    p) x^2 in the mean.
    """
    network = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.2, 0.1], [0.0, 0.0]]))
    images = torch.tensor([[1.0, 2.0]]).repeat(4000, 1)
    found = fisher_diagonal(network, images)[""]
    p = network(images[:1]).softmax(1)[0, 0].item()
    assert torch.allclose(found, (p * (1 - p) * torch.tensor([1.0, 4.0])).expand(2, 2), rtol=0.1)
    assert network.weight.grad is None


def test_allocation_pays_where_it_counts():
    options = {"a": [Option(2, 1.0, 10), Option(4, 0.1, 20)], "b": [Option(2, 0.01, 10), Option(4, 0.001, 20)]}
    assert allocate(options, 1e-9) == {"a": 4, "b": 4}
    assert allocate(options, 0.01) == {"a": 4, "b": 2}
    assert allocate(options, 1.0) == {"a": 2, "b": 2}
    assert loss_of(options, {"a": 4, "b": 2}) == pytest.approx(0.11)
    assert price_for(lambda price: price >= 1e-5) == pytest.approx(1e-5, rel=0.01)
    network = nn.Linear(30, 30)
    found = options_of(network, {"": torch.ones(30, 30)})[""]
    assert all(one.loss > other.loss and one.bits < other.bits for one, other in pairwise(found))


def test_sensitivity_by_hand():
    curve = Curve(100, (0.0, 0.5, 0.9), (1.0, 1.2, 2.0))
    assert curve.sparsity_within(0.0) == 0.0
    assert curve.sparsity_within(0.1) == pytest.approx(0.25)
    assert curve.sparsity_within(0.6) == pytest.approx(0.7)
    assert curve.sparsity_within(9.0) == 0.9
    goals = equal_rise({"a": curve, "b": Curve(100, (0.0, 0.5, 0.9), (1.0, 1.0, 1.1))}, 0.6)
    assert goals["b"] > goals["a"]
    assert sum(goals.values()) / 2 == pytest.approx(0.6, abs=1e-3)


def test_sensitivity_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    images = torch.randn(30, 8)
    expected = network(images).detach()
    before = [param.clone() for param in network.parameters()]
    curves = sensitivity_curves(network, lambda each: float((each(images) - expected).square().mean().detach()))
    assert list(curves) == ["0", "2"]
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))
    for curve in curves.values():
        assert curve.losses[0] == 0
        assert curve.losses[-1] > 0
