"""The losses of segmentation by hand."""

import math

import numpy as np
import pytest
import torch

from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.segmentation.loss import SegmentationLoss, dice_loss, log_weights

TARGETS = torch.tensor([[[0, 1], [1, 255]]], dtype=torch.uint8)


def test_guessing_costs_ln_k_whatever_the_weights():
    for weights in (None, torch.tensor([5.0, 0.1, 2.0])):
        loss = SegmentationLoss(3, class_weights=weights)(torch.zeros(1, 3, 2, 2), TARGETS)
        assert loss.item() == pytest.approx(math.log(3))


def test_ignored_pixels_neither_cost_nor_move_anything():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    for kind in ("cross_entropy", "dice", "cross_entropy_dice"):
        (grad,) = torch.autograd.grad(SegmentationLoss(3, kind)(logits, TARGETS), logits)
        assert (grad[0, :, 1, 1] == 0).all()
        assert (grad[0, :, 0, 0] != 0).all()


def test_a_batch_that_is_ignored_costs_nothing():
    targets = torch.full((1, 2, 2), 255, dtype=torch.uint8)
    for kind in ("cross_entropy", "cross_entropy_dice"):
        loss = SegmentationLoss(3, kind, torch.ones(3))(torch.randn(1, 3, 2, 2), targets)
        assert loss.isfinite()
    assert SegmentationLoss(3)(torch.randn(1, 3, 2, 2), targets).item() == 0


def test_parts_of_a_batch_add_up_by_their_weights():
    logits, targets = torch.randn(4, 3, 5, 5), torch.randint(0, 3, (4, 5, 5), dtype=torch.uint8)
    targets[0, :3] = 255
    loss = SegmentationLoss(3, class_weights=torch.tensor([1.0, 4.0, 0.5]))
    parts = [(loss(logits[k : k + 1], targets[k : k + 1]), loss.weight(targets[k : k + 1])) for k in range(4)]
    summed = sum(mean * weight for mean, weight in parts) / sum(weight for _, weight in parts)
    assert summed.item() == pytest.approx(loss(logits, targets).item(), rel=1e-5)


def test_dice_by_hand():
    classes = torch.tensor([[[0, 1], [1, 255]]])
    sure = torch.tensor([[[[9.0, -9.0], [-9.0, 0.0]], [[-9.0, 9.0], [9.0, 0.0]]]]) * 10
    assert dice_loss(sure, classes).item() == pytest.approx(0, abs=1e-6)
    # a half for both classes: class 0 has (2 * 0.5 + 1) / (1.5 + 1 + 1), class 1 (2 * 1 + 1) / (1.5 + 2 + 1)
    assert dice_loss(torch.zeros(1, 2, 2, 2), classes).item() == pytest.approx(1 - (2 / 3.5 + 3 / 4.5) / 2)


def test_auxiliary_heads_count_by_their_weight():
    logits = torch.randn(1, 3, 2, 2)
    loss = SegmentationLoss(3)
    both = loss(WithAuxiliary(logits, (logits,), 0.4), TARGETS)
    assert both.item() == pytest.approx(1.4 * loss(logits, TARGETS).item())


def test_weights_of_classes_by_the_papers_formulas():
    pixels = np.array([900, 90, 10, 0])
    log = np.array([1 / math.log(1.02 + 0.9), 1 / math.log(1.02 + 0.09), 1 / math.log(1.02 + 0.01), 0])
    found = log_weights(pixels)
    assert found / found[0] == pytest.approx(log / log[0])
    assert (found[:3] * [0.9, 0.09, 0.01]).sum() == pytest.approx(1)


def test_the_score_is_the_mean_iou_of_the_batch():
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1] = 1  # everything is predicted as class 1: IoU 0 for class 0, 2 of 3 for class 1; class 2 is nowhere
    assert SegmentationLoss(3).score_sum(logits, TARGETS).item() == pytest.approx((0 + 2 / 3) / 2)
