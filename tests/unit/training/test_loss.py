"""The loss of a recipe: auxiliary heads and weights."""

import pytest
import torch
from torch.nn import functional as F

from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.classification.logits import class_logits
from striate.tasks.classification.loss import ClassificationLoss


def test_auxiliary_heads_are_added_by_their_weight():
    logits, first, second = torch.randn(3, 4, 5).unbind()
    targets = torch.tensor([0, 1, 2, 4])
    loss = ClassificationLoss(label_smoothing=0.1)
    joint = loss(WithAuxiliary(logits, (first, second), 0.3), targets)
    assert joint.item() == pytest.approx(
        (loss(logits, targets) + 0.3 * (loss(first, targets) + loss(second, targets))).item()
    )


def test_the_last_head_answers():
    logits = torch.zeros(1, 2)
    assert class_logits(logits) is logits
    assert class_logits(WithAuxiliary(logits, (torch.ones(1, 2),), 0.3)) is logits


def test_a_single_output_is_a_sigmoid_with_binary_cross_entropy():
    """Against PyTorch's own, smoothed labels and mixed ones too."""
    outputs = torch.tensor([[-40.0], [0.3], [2.0], [90.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 1, 0, 1])
    torch.testing.assert_close(class_logits(outputs).softmax(1)[:, 1], outputs[:, 0].sigmoid())
    for smoothing in (0.0, 0.2):
        shares = labels.double() * (1 - smoothing) + smoothing / 2
        expected = F.binary_cross_entropy_with_logits(outputs[:, 0], shares)
        loss = ClassificationLoss(smoothing)(outputs, labels)
        torch.testing.assert_close(loss, expected)
        (ours,), (theirs,) = torch.autograd.grad(loss, outputs), torch.autograd.grad(expected, outputs)
        torch.testing.assert_close(ours, theirs)
    mixed = torch.tensor([0.25, 0.5, 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(
        ClassificationLoss()(outputs, torch.stack([1 - mixed, mixed], 1)),
        F.binary_cross_entropy_with_logits(outputs[:, 0], mixed),
    )
