"""Box operators and losses of localisation beside torchvision's and torch's own."""

import pytest
import torch
import torchvision.ops
from torch.nn import functional as F

from striate.tasks.localization.boxes import as_boxes, box_iou, generalized_box_iou
from striate.tasks.localization.loss import BOX_WEIGHTS, SMOOTH_L1_BETA, LocalizationLoss


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return as_boxes(torch.rand(count, 4, generator=generator, dtype=torch.float64))


def test_overlaps_are_torchvisions():
    ours, others = random_boxes(500, 0), random_boxes(500, 1)
    torch.testing.assert_close(box_iou(ours, others), torchvision.ops.box_iou(ours, others).diagonal())
    expected = torchvision.ops.generalized_box_iou(ours, others).diagonal()
    torch.testing.assert_close(generalized_box_iou(ours, others), expected)


@pytest.mark.parametrize("num_classes", [1, 2, 7])
@pytest.mark.parametrize("kind", ["l2", "smooth_l1", "giou"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_losses_and_gradients_are_torchs(num_classes, kind, label_smoothing):
    generator = torch.Generator().manual_seed(3)
    num_outputs = 4 + (num_classes if num_classes > 1 else 0)
    outputs = torch.rand(32, num_outputs, generator=generator, requires_grad=True)
    labels = torch.randint(num_classes, (32,), generator=generator)
    targets = {"labels": labels, "boxes": random_boxes(32, 4).float(), "has_box": (torch.arange(32) % 5 > 0).float()}
    loss = LocalizationLoss(num_classes, kind, label_smoothing)(outputs, targets)
    corners, boxes = outputs[:, -4:], targets["boxes"]
    if kind == "giou":
        of_boxes = torchvision.ops.generalized_box_iou_loss(as_boxes(corners), boxes)
    elif kind == "l2":
        of_boxes = F.mse_loss(corners, boxes, reduction="none").sum(1)
    else:
        of_boxes = F.smooth_l1_loss(corners, boxes, beta=SMOOTH_L1_BETA, reduction="none").sum(1)
    expected = BOX_WEIGHTS[kind] * (of_boxes * targets["has_box"]).sum() / 32
    if num_classes > 1:
        expected = expected + F.cross_entropy(outputs[:, :-4], labels, label_smoothing=label_smoothing)
    torch.testing.assert_close(loss, expected)
    (ours,) = torch.autograd.grad(loss, outputs, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected, outputs)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)
