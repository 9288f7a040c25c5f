"""Hinge losses and penalties on paper, and against scikit-learn, SciPy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.linear_model import ElasticNet
from sklearn.metrics import hinge_loss
from torch import nn
from torch.nn import functional as F

from striate.layers.gradient_check import check_gradients
from striate.networks.catalogue import build_network
from striate.tasks.classification.hinge import elastic_net_penalty, multiclass_hinge_loss
from striate.training.optimizers import split_by_decay

CAT = torch.tensor([[-96.8, 437.9, 61.95]], dtype=torch.float64)


def test_the_cat_of_the_lectures():
    """Of three scores the cat's, the right one, is the first: 535.7 + 159.75."""
    labels = torch.tensor([0])
    assert multiclass_hinge_loss(CAT, labels).item() == pytest.approx(535.7 + 159.75)
    assert multiclass_hinge_loss(CAT, labels).item() == pytest.approx(695.45)
    assert multiclass_hinge_loss(CAT, labels, power=2).item() == pytest.approx(535.7**2 + 159.75**2)
    assert multiclass_hinge_loss(CAT, torch.tensor([1])).item() == 0
    assert multiclass_hinge_loss(CAT, torch.tensor([2]), margin=0).item() == pytest.approx(437.9 - 61.95)


@given(seed=st.integers(0, 100), num_classes=st.integers(2, 6), power=st.sampled_from([1, 2]))
@settings(max_examples=30, deadline=None)
def test_against_numpy(seed, num_classes, power):
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(7, num_classes)), rng.integers(num_classes, size=7)
    gaps = np.maximum(0, scores - scores[np.arange(7), labels][:, None] + 1) ** power
    gaps[np.arange(7), labels] = 0
    ours = multiclass_hinge_loss(torch.from_numpy(scores), torch.from_numpy(labels), power=power)
    assert ours.item() == pytest.approx(gaps.sum(1).mean())


def test_two_classes_are_scikit_learns_hinge():
    """With two classes there is one wrong class, and the sum over them is scikit-learn's maximum over them."""
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=50), rng.integers(2, size=50)
    pairs = torch.from_numpy(np.stack([-scores / 2, scores / 2], axis=1))
    expected = hinge_loss(labels, scores)
    assert multiclass_hinge_loss(pairs, torch.from_numpy(labels)).item() == pytest.approx(expected)


def test_hinge_gradients():
    labels = torch.tensor([0, 2, 1, 1])
    for power in (1, 2):
        checked = check_gradients(
            lambda logits, power=power: multiclass_hinge_loss(logits, labels, power=power),
            torch.randn(4, 3, generator=torch.Generator().manual_seed(0)),
        )
        assert checked.worst.relative_error < 1e-7


def test_softmax_and_sigmoid_of_the_lectures():
    """Torch's own; no overflow at any input, since the largest score is taken away first."""
    shares = torch.tensor([47.0, 50.0, 12.0], dtype=torch.float64).softmax(0)
    assert shares.tolist() == pytest.approx([0.047, 0.953, 3.1e-17], rel=0.02)
    assert torch.sigmoid(torch.tensor([-1.0, 0.1], dtype=torch.float64)).tolist() == pytest.approx(
        [0.268941421, 0.524979187], abs=5e-10
    )


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_softmax_never_overflows(scores):
    logits = torch.tensor([scores], dtype=torch.float64)
    shares = logits.softmax(1)
    assert shares.isfinite().all()
    assert shares.sum().item() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(shares, torch.from_numpy(softmax(logits.numpy(), axis=1)))
    loss = F.cross_entropy(logits, torch.tensor([0]))
    expected = torch.tensor(-log_softmax(logits.numpy(), axis=1)[0, 0])
    torch.testing.assert_close(loss, expected)


def test_elastic_net_on_paper_leaves_biases_out():
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, -4.0]]))
        layer.bias.fill_(100)
    assert elastic_net_penalty(layer, l1=0.5).item() == 3.5
    assert elastic_net_penalty(layer, l2=0.5).item() == 6.25
    assert elastic_net_penalty(layer, l1=1, l2=1).item() == 19.5
    assert elastic_net_penalty(layer).item() == 0
    assert elastic_net_penalty(layer.requires_grad_(False), l1=1).item() == 0
    assert elastic_net_penalty(nn.Identity(), l1=1).item() == 0


def test_the_same_parameters_as_weight_decay():
    network = build_network("resnet20_cifar", seed=0)
    elastic_net_penalty(network, l1=1, l2=1).backward()
    reached = [param for param in network.parameters() if param.grad is not None]
    decayed, _ = split_by_decay(tuple(network.parameters()))
    assert {id(param) for param in reached} == {id(param) for param in decayed}
    torch.testing.assert_close(network.conv1.weight.grad, network.conv1.weight.detach().sign() + network.conv1.weight)


def test_scikit_learns_elastic_net_is_at_its_minimum():
    """At the weights that scikit-learn finds, loss plus penalty has no slope by any weight that is not 0."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 5))
    targets = inputs @ [2.0, -1, 0, 0.5, 0] + 3 + rng.normal(size=60) / 10
    alpha, share = 0.3, 0.4
    found = ElasticNet(alpha=alpha, l1_ratio=share, tol=1e-12).fit(inputs, targets)
    layer = nn.Linear(5, 1).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(found.coef_)[None])
        layer.bias.fill_(found.intercept_)
    loss = F.mse_loss(layer(torch.from_numpy(inputs))[:, 0], torch.from_numpy(targets)) / 2
    (loss + elastic_net_penalty(layer, l1=alpha * share, l2=alpha * (1 - share))).backward()
    kept = layer.weight.detach() != 0
    assert kept.sum() == 3
    assert layer.weight.grad[kept].abs().max() < 1e-6
    assert layer.bias.grad.abs().max() < 1e-9
