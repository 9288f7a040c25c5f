"""The loss of a detector. Of a dense one: how well its scores say how well its boxes fit, and how well they do. n
images, K classes.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from striate.networks.detectors.box_coding import decode
from striate.networks.detectors.boxes import AnchorBoxes, AnyBoxes, DenseBoxes, ProposalBoxes
from striate.tasks.detection.assignment import Assigned, assign
from striate.tasks.detection.multibox import are_objects, matches, multibox_sum, places_and_owners
from striate.tasks.detection.two_stage import objects_of, proposals_found, two_stage_sum
from striate.tasks.localization.boxes import generalized_box_iou

BOX_WEIGHT = 2.0
"""What a box's loss counts beside the scores' (arXiv:2108.07755, section 4)."""
FOCUS = 2.0
"""The power of the distance from the wanted score that weighs its cross-entropy: quality focal loss (arXiv:2006.04388,
eq. 2).
"""
FOUND_IOU = 0.5


@dataclass(frozen=True)
class DetectionLoss:
    """The loss of whatever kind of outputs a detector gives, summed and divided by the number of boxes and images."""

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """The mean, a scalar."""
        return _sum_of(outputs, targets) / self.weight(targets)

    def weight(self, targets: Any) -> Tensor:
        """The number of boxes and images: an image without any has something to teach, too."""
        return are_objects(targets).sum().float() + len(targets["labels"])

    @torch.no_grad()
    def score_sum(self, outputs: Any, targets: Any) -> Tensor:
        """The fraction of each image's boxes that are found by the place surest of their class among those that answer
        for them; of detectors in two stages, that a proposal overlaps by half.
        """
        if isinstance(outputs, ProposalBoxes):
            parts = [proposals_found(outputs, image, boxes) for image, (boxes, _, _) in enumerate(objects_of(targets))]
            return torch.tensor(sum(parts), dtype=torch.float32, device=outputs.objectness.device)
        total = outputs.logits.new_zeros((), dtype=torch.float32)
        for image, (boxes, labels, places, owners) in enumerate(_answering(outputs, targets)):
            if len(boxes) == 0:
                total += 1.0
                continue
            scores, found = _read(outputs, image, places)
            own = scores.gather(1, labels[owners][:, None])[:, 0]
            best = torch.full((len(boxes),), -torch.inf, device=own.device).scatter_reduce_(0, owners, own, "amax")
            is_best = (own == best[owners]) & (own >= scores.amax(dim=1))
            fits = box_iou(found, boxes).gather(1, owners[:, None])[:, 0] >= FOUND_IOU
            total += owners[is_best & fits].unique().numel() / len(boxes)
        return total


def _sum_of(outputs: AnyBoxes, targets: Any) -> Tensor:
    if isinstance(outputs, ProposalBoxes):
        return two_stage_sum(outputs, targets)
    return multibox_sum(outputs, targets) if isinstance(outputs, AnchorBoxes) else dense_sum(outputs, targets)


def dense_sum(outputs: DenseBoxes, targets: Any) -> Tensor:
    """Quality focal loss of the scores and 1 - generalised IoU of the boxes by their weights, summed."""
    wanted = torch.zeros_like(outputs.logits, dtype=torch.float32)
    counted = torch.ones_like(wanted[..., 0])
    box_losses = wanted.new_zeros(())
    for image, (boxes, labels, assigned) in enumerate(assignments(outputs, targets)):
        counted[image] = assigned.are_counted.float()
        if len(assigned.places):
            wanted[image, assigned.places, labels[assigned.boxes]] = assigned.scores
            found = outputs.boxes[image, assigned.places].float()
            losses = 1 - generalized_box_iou(found, boxes[assigned.boxes])
            box_losses = box_losses + (losses * assigned.weights).sum()
    logits = outputs.logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    focus = (wanted - logits.sigmoid()).abs() ** FOCUS
    return (entropy * focus * counted[..., None]).sum() + BOX_WEIGHT * box_losses


def _answering(outputs: Any, targets: Any) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of each image its boxes (g, 4), their classes (g,), the places that answer for a box (A,), and for which (A,)."""
    if isinstance(outputs, AnchorBoxes):
        return [(boxes, labels, *places_and_owners(matched)) for boxes, labels, matched, _ in matches(outputs, targets)]
    return [(boxes, labels, own.places, own.boxes) for boxes, labels, own in assignments(outputs, targets)]


def _read(outputs: Any, image: int, places: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of the classes (A, K) and boxes (A, 4) at these places."""
    logits = outputs.logits[image, places].float()
    if isinstance(outputs, AnchorBoxes):
        return logits.softmax(dim=1)[:, 1:], decode(outputs.deltas[image, places].float(), outputs.anchors[places])
    return logits.sigmoid(), outputs.boxes[image, places].float()


def assignments(outputs: DenseBoxes, targets: Any) -> list[tuple[Tensor, Tensor, Assigned]]:
    """The boxes (g, 4), the classes (g,) and the assignment of each image."""
    real, result = are_objects(targets), []
    for image in range(len(real)):
        own = real[image]
        boxes, labels = targets["boxes"][image][own], targets["labels"][image][own]
        ignored = targets["boxes"][image][targets["are_ignored"][image]]
        result.append((boxes, labels, assign(outputs, image, boxes, labels, ignored)))
    return result
