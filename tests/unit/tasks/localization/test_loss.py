"""Losses of localisation on cases small enough for paper."""

import pytest
import torch

from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.localization.boxes import as_boxes, box_iou, generalized_box_iou
from striate.tasks.localization.head import start_from_the_middle
from striate.tasks.localization.loss import LocalizationLoss, read_values


def targets(boxes: list[list[float]], labels: list[int] | None = None, has_box: list[float] | None = None) -> dict:
    return {
        "labels": torch.tensor(labels or [0] * len(boxes)),
        "boxes": torch.tensor(boxes),
        "has_box": torch.tensor(has_box or [1.0] * len(boxes)),
    }


def test_overlaps_by_hand():
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    half = torch.tensor([[0.5, 0.0, 1.5, 1.0]])
    far = torch.tensor([[2.0, 0.0, 3.0, 1.0]])
    assert box_iou(unit, half).item() == pytest.approx(1 / 3)
    assert box_iou(unit, far).item() == 0
    assert generalized_box_iou(unit, half).item() == pytest.approx(1 / 3)  # nothing between them is uncovered
    assert generalized_box_iou(unit, far).item() == pytest.approx(-1 / 3)  # of 3 x 1 one third is
    assert box_iou(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0


def test_corners_in_any_order_are_a_box():
    assert as_boxes(torch.tensor([[0.75, 0.25, 0.5, 1.0]])).tolist() == [[0.5, 0.25, 0.75, 1.0]]


def test_a_single_class_has_no_class_loss():
    outputs = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]])
    loss = LocalizationLoss(1, "l2")(outputs, targets([[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0]]))
    assert loss.item() == pytest.approx(10 * 0.25 / 2)


def test_boxes_that_are_not_seen_cost_nothing():
    outputs, aims = torch.rand(3, 4), targets([[0.0, 0.0, 1.0, 1.0]] * 3, has_box=[0.0, 0.0, 0.0])
    assert LocalizationLoss(1, "giou")(outputs, aims).item() == 0


def test_losses_of_auxiliary_heads_are_added_by_their_weight():
    outputs, aims = torch.rand(2, 4), targets([[0.0, 0.0, 0.5, 0.5]] * 2)
    loss = LocalizationLoss(1, "smooth_l1")
    plain = loss(outputs, aims)
    assert loss(WithAuxiliary(outputs, (outputs, outputs), 0.3), aims).item() == pytest.approx(1.6 * plain.item())


def test_a_score_needs_class_and_box():
    outputs = torch.tensor([[3.0, 0, 0, 0, 1, 1], [0.0, 3, 0, 0, 1, 1], [3.0, 0, 0, 0, 0.4, 1], [3.0, 0, 0, 0, 0, 0]])
    aims = targets([[0.0, 0.0, 1.0, 1.0]] * 4, has_box=[1.0, 1.0, 1.0, 0.0])
    assert LocalizationLoss(2).score_sum(outputs, aims).item() == 2  # the first, and the last, whose box nobody sees


def test_values_are_probabilities_and_a_box_within_the_image():
    values = read_values(torch.tensor([[0.0, 0.0, 0.9, -0.2, 0.1, 0.5]]), 2)
    torch.testing.assert_close(values, torch.tensor([[0.5, 0.5, 0.1, 0.0, 0.9, 0.5]]))
    assert read_values(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), 1)[0, 0] == 1


@pytest.mark.parametrize("head", [torch.nn.Linear(8, 7), torch.nn.Conv2d(8, 7, 1)])
def test_the_first_box_is_the_middle_one_whatever_the_features(head):
    torch.manual_seed(0)
    torch.nn.init.uniform_(head.weight, -0.3, 0.3)
    before = head.weight.detach().clone()
    start_from_the_middle(head)
    outputs = head(10 * torch.rand(5, 8, *[1] * (head.weight.ndim - 2))).flatten(1)
    torch.testing.assert_close(outputs[:, 3:], torch.tensor([[0.25, 0.25, 0.75, 0.75]] * 5), atol=0.1, rtol=0)
    assert torch.equal(head.weight[:3], before[:3])
