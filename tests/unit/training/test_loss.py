"""The loss of a recipe: auxiliary heads and weights."""

import pytest
import torch

from striate.networks.auxiliary import WithAuxiliary, main_logits
from striate.training.loss import ClassificationLoss


def test_auxiliary_heads_are_added_by_their_weight():
    logits, first, second = torch.randn(3, 4, 5).unbind()
    targets = torch.tensor([0, 1, 2, 4])
    loss = ClassificationLoss(label_smoothing=0.1)
    joint = loss(WithAuxiliary(logits, (first, second), 0.3), targets)
    assert joint.item() == pytest.approx(
        (loss(logits, targets) + 0.3 * (loss(first, targets) + loss(second, targets))).item()
    )


def test_main_logits_are_those_of_the_last_head():
    logits = torch.zeros(1, 2)
    assert main_logits(logits) is logits
    assert main_logits(WithAuxiliary(logits, (torch.ones(1, 2),), 0.3)) is logits
