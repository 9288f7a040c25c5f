"""The loss of classification and localisation: cross-entropy of the class and a distance of the box. n images, K
classes.

A network gives (n, K + 4): K logits and the box as fractions of what it sees, (x1, y1, x2, y2) with (0, 0, 1, 1) for
all of it; (n, 4) for a single class. The box is regressed as in OverFeat (arXiv:1312.6229, section 4.2) by the squared
distance of its corners, or by the smooth L1 distance of Fast R-CNN (arXiv:1504.08083, eq. 3), or by the generalised IoU
(arXiv:1902.09630).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.localization.boxes import as_boxes, box_iou, generalized_box_iou

SMOOTH_L1_BETA = 0.1
"""Up to this distance, in fractions of the image's side, smooth L1 is squared."""
BOX_WEIGHTS = {"l2": 10.0, "smooth_l1": 5.0, "giou": 1.0}
"""What a box's loss counts beside the class's: so that always answering the mean box costs about 1."""
IOU_THRESHOLD = 0.5
"""A box is right from this overlap on, as in the ImageNet challenge (arXiv:1409.0575, section 4.2)."""


@dataclass(frozen=True)
class LocalizationLoss:
    """Softmax cross-entropy in nats, with label smoothing, and BOX_WEIGHTS[kind] times the loss of the box."""

    num_classes: int
    kind: str = "l2"
    label_smoothing: float = 0.0

    def __call__(self, outputs: Tensor | WithAuxiliary, targets: Any) -> Tensor:
        """The mean over the images, a scalar. Boxes of which too little is seen ("has_box" 0) cost nothing."""
        if isinstance(outputs, WithAuxiliary):
            auxiliary = sum(self(each, targets) for each in outputs.auxiliary)
            return self(outputs.logits, targets) + outputs.weight * auxiliary
        return self.each(outputs, targets).mean()

    def each(self, outputs: Tensor, targets: Any) -> Tensor:
        """The loss of every image, (n,)."""
        logits, corners = split_outputs(outputs, self.num_classes)
        box_losses = BOX_WEIGHTS[self.kind] * BOX_LOSSES[self.kind](corners.float(), targets["boxes"])
        losses = box_losses * targets["has_box"]
        if logits is None:
            return losses
        classes = F.cross_entropy(logits, targets["labels"], label_smoothing=self.label_smoothing, reduction="none")
        return classes + losses

    def weight(self, targets: Any) -> float:
        """The number of images."""
        return float(len(targets["labels"]))

    def score_sum(self, outputs: Tensor | WithAuxiliary, targets: Any) -> Tensor:
        """How many images have the right class and, where one is seen, the right box."""
        given = (outputs.logits if isinstance(outputs, WithAuxiliary) else outputs).detach()
        logits, corners = split_outputs(given, self.num_classes)
        is_right = box_iou(as_boxes(corners.float()), targets["boxes"]) >= IOU_THRESHOLD
        is_right = is_right | (targets["has_box"] == 0)
        if logits is not None:
            is_right = is_right & (logits.argmax(dim=1) == targets["labels"])
        return is_right.sum()


def split_outputs(outputs: Tensor, num_classes: int) -> tuple[Tensor | None, Tensor]:
    """Logits (n, K), None for a single class, and corners (n, 4)."""
    return (None, outputs) if num_classes == 1 else (outputs[:, :num_classes], outputs[:, num_classes:])


def l2_losses(corners: Tensor, boxes: Tensor) -> Tensor:
    """The squared distance of the four numbers, summed: (n,)."""
    return (corners - boxes).square().sum(dim=1)


def smooth_l1_losses(corners: Tensor, boxes: Tensor) -> Tensor:
    """The smooth L1 distance of the four numbers, summed: (n,)."""
    return F.smooth_l1_loss(corners, boxes, beta=SMOOTH_L1_BETA, reduction="none").sum(dim=1)


def giou_losses(corners: Tensor, boxes: Tensor) -> Tensor:
    """1 - generalised IoU: (n,) in [0, 2]."""
    return 1 - generalized_box_iou(as_boxes(corners), boxes)


BOX_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": l2_losses,
    "smooth_l1": smooth_l1_losses,
    "giou": giou_losses,
}


def read_values(outputs: Tensor | WithAuxiliary, num_classes: int) -> Tensor:
    """Probabilities (1 for a single class) and the box, in [0, 1]: (n, K + 4) float32."""
    given = (outputs.logits if isinstance(outputs, WithAuxiliary) else outputs).to(torch.float32)
    logits, corners = split_outputs(given, num_classes)
    probabilities = torch.ones_like(given[:, :1]) if logits is None else logits.softmax(dim=1)
    return torch.cat([probabilities, as_boxes(corners).clamp(0, 1)], dim=1)
