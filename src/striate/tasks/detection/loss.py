"""The loss of a dense detector: how well its scores say how well its boxes fit, and how well they do. n images, P places, K classes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from striate.networks.detectors.boxes import DenseBoxes
from striate.tasks.detection.assignment import Assigned, assign
from striate.tasks.localization.boxes import generalized_box_iou

BOX_WEIGHT = 2.0
"""What a box's loss counts beside the scores' (arXiv:2108.07755, section 4)."""
FOCUS = 2.0
"""The power of the distance from the wanted score that weighs its cross-entropy: quality focal loss (arXiv:2006.04388, eq. 2)."""
FOUND_IOU = 0.5


@dataclass(frozen=True)
class DenseLoss:
    """Quality focal loss of the scores and 1 - generalised IoU of the boxes, by the number of boxes and images."""

    def __call__(self, outputs: DenseBoxes, targets: Any) -> Tensor:
        """The mean, a scalar."""
        wanted = torch.zeros_like(outputs.logits, dtype=torch.float32)
        counted = torch.ones_like(wanted[..., 0])
        box_losses = wanted.new_zeros(())
        for image, (boxes, labels, assigned) in enumerate(assignments(outputs, targets)):
            counted[image] = assigned.are_counted.float()
            if len(assigned.places):
                wanted[image, assigned.places, labels[assigned.boxes]] = assigned.scores
                found = outputs.boxes[image, assigned.places].float()
                losses = 1 - generalized_box_iou(found, boxes[assigned.boxes])
                box_losses = box_losses + (losses * assigned.scores).sum()
        logits = outputs.logits.float()
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        focus = (wanted - logits.sigmoid()).abs() ** FOCUS
        score_losses = (entropy * focus * counted[..., None]).sum()
        return (score_losses + BOX_WEIGHT * box_losses) / self.weight(targets)

    def weight(self, targets: Any) -> Tensor:
        """The number of boxes and images: an image without any has something to teach, too."""
        return are_objects(targets).sum().float() + len(targets["labels"])

    @torch.no_grad()
    def score_sum(self, outputs: DenseBoxes, targets: Any) -> Tensor:
        """The fraction of each image's boxes that are found by the place surest of their class among those that answer for them."""
        total = outputs.logits.new_zeros((), dtype=torch.float32)
        for image, (boxes, labels, assigned) in enumerate(assignments(outputs, targets)):
            if len(boxes) == 0:
                total += 1.0
                continue
            scores = outputs.logits[image, assigned.places].float()
            own = scores.gather(1, labels[assigned.boxes][:, None])[:, 0]
            best = torch.full((len(boxes),), -torch.inf, device=own.device).scatter_reduce_(
                0, assigned.boxes, own, "amax"
            )
            is_best = (own == best[assigned.boxes]) & (own >= scores.amax(dim=1))
            overlaps = box_iou(outputs.boxes[image, assigned.places].float(), boxes)
            fits = overlaps.gather(1, assigned.boxes[:, None])[:, 0] >= FOUND_IOU
            total += assigned.boxes[is_best & fits].unique().numel() / len(boxes)
        return total


def are_objects(targets: Any) -> Tensor:
    """(n, G) bool: which targets are objects to be found."""
    result: Tensor = (targets["labels"] >= 0) & ~targets["are_ignored"]
    return result


def assignments(outputs: DenseBoxes, targets: Any) -> list[tuple[Tensor, Tensor, Assigned]]:
    """The boxes (g, 4), the classes (g,) and the assignment of each image."""
    real, result = are_objects(targets), []
    for image in range(len(real)):
        own = real[image]
        boxes, labels = targets["boxes"][image][own], targets["labels"][image][own]
        ignored = targets["boxes"][image][targets["are_ignored"][image]]
        result.append((boxes, labels, assign(outputs, image, boxes, labels, ignored)))
    return result
