"""The loss of Faster R-CNN: of the proposals and of what they are (Ren et al. 2015, arXiv:1506.01497, section 3.1.2;
Girshick 2015, arXiv:1504.08083, section 2.3). A anchors, S sampled boxes, K classes.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from striate.networks.detectors.box_coding import SSD_WEIGHTS, encode
from striate.networks.detectors.boxes import ProposalBoxes
from striate.networks.detectors.faster_rcnn import RPN_WEIGHTS
from striate.tasks.detection.multibox import are_objects, middles_inside

OBJECT_IOU, NOTHING_IOU = 0.7, 0.3
"""An anchor proposes an object from this overlap on, and nothing below that; between them it learns nothing."""
NUM_ANCHORS, NUM_BOXES, OBJECT_FRACTION = 256, 128, 0.25
"""Anchors and boxes learnt from in an image, and the fraction of objects among the boxes; of anchors half may be."""
CLASS_IOU = 0.5
BETA = 1 / 9
"""Up to this change, smooth L1 is squared, as in Detectron."""


def two_stage_sum(outputs: ProposalBoxes, targets: Any) -> Tensor:
    """Both stages' losses of each image, by its boxes and one more, summed."""
    total = outputs.objectness.new_zeros((), dtype=torch.float32)
    for image, (boxes, labels, ignored) in enumerate(objects_of(targets)):
        both = proposal_losses(outputs, image, boxes, ignored) + class_losses(outputs, image, boxes, labels, ignored)
        total = total + both * (len(boxes) + 1)
    return total


def objects_of(targets: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Boxes (g, 4), classes (g,) and ignored regions (R, 4) of each image."""
    real = are_objects(targets)
    return [
        (
            targets["boxes"][image][own],
            targets["labels"][image][own],
            targets["boxes"][image][targets["are_ignored"][image]],
        )
        for image, own in enumerate(real)
    ]


def proposal_losses(outputs: ProposalBoxes, image: int, boxes: Tensor, ignored: Tensor) -> Tensor:
    """Whether there is anything at sampled anchors, and smooth L1 of the changes of those where there is."""
    anchors = outputs.anchors
    owner = match_anchors(anchors, boxes)
    owner = torch.where(middles_inside(anchors, ignored) & (owner == -1), -2, owner)
    positives, negatives = sampled(owner >= 0, owner == -1, NUM_ANCHORS, 0.5)
    both = torch.cat([positives, negatives])
    wanted = torch.cat([torch.ones_like(positives), torch.zeros_like(negatives)]).float()
    found = outputs.objectness[image, both].float()
    place = F.smooth_l1_loss(
        outputs.deltas[image, positives].float(),
        encode(boxes[owner[positives]], anchors[positives], RPN_WEIGHTS),
        beta=BETA,
        reduction="sum",
    )
    return F.binary_cross_entropy_with_logits(found, wanted, reduction="sum").add(place) / max(1, len(both))


def class_losses(outputs: ProposalBoxes, image: int, boxes: Tensor, labels: Tensor, ignored: Tensor) -> Tensor:
    """The second stage on sampled proposals, the objects themselves among them."""
    candidates = torch.cat([outputs.proposals[image][outputs.are_real[image]], boxes])
    ious = box_iou(candidates, boxes) if len(boxes) else candidates.new_zeros(len(candidates), 1)
    best, owner = ious.max(dim=1)
    is_object = (best >= CLASS_IOU) & (len(boxes) > 0)
    is_nothing = ~is_object & ~middles_inside(candidates, ignored)
    positives, negatives = sampled(is_object, is_nothing, NUM_BOXES, OBJECT_FRACTION)
    both = torch.cat([positives, negatives])
    if len(both) == 0:
        return outputs.objectness[image].sum() * 0
    classes = torch.zeros_like(both)
    classes[: len(positives)] = labels[owner[positives]] + 1
    logits, deltas = outputs.classified(candidates[both][None], torch.full((1,), 0, device=both.device) + image)
    wanted = encode(boxes[owner[positives]], candidates[positives], SSD_WEIGHTS)
    return stage_losses(logits[0].float(), deltas[0].float(), classes, wanted)


def stage_losses(logits: Tensor, deltas: Tensor, classes: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of S boxes, logits (S, K + 1), and smooth L1 of the changes of those of a class above 0, the first
    of them: `wanted` (s, 4); both divided by S.
    """
    own = deltas[torch.arange(len(wanted), device=deltas.device), classes[: len(wanted)]]
    place = F.smooth_l1_loss(own, wanted, beta=BETA, reduction="sum")
    return F.cross_entropy(logits, classes) + place / len(classes)


def match_anchors(anchors: Tensor, boxes: Tensor) -> Tensor:
    """The box that each anchor proposes, -1 where there is nothing, -2 where it learns nothing: (A,) int64. The anchors
    that fit a box best propose it however little that is.
    """
    if len(boxes) == 0:
        return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
    ious = box_iou(boxes, anchors)  # (G, A)
    best, owner = ious.max(dim=0)
    result = torch.where(best < NOTHING_IOU, -1, torch.where(best < OBJECT_IOU, -2, owner))
    is_best = (ious == ious.max(dim=1, keepdim=True).values).any(dim=0)
    return torch.where(is_best, owner, result)


def sampled(are_objects: Tensor, are_nothing: Tensor, count: int, fraction: float) -> tuple[Tensor, Tensor]:
    """Places of at most `count`, of which objects are at most this fraction: (s,) and (count - s,). Drawn from torch's
    generator while training; else always the same, so that a loss can be computed again.
    """
    chosen = []
    room = int(count * fraction)
    for mask in (are_objects, are_nothing):
        places = mask.nonzero().flatten()
        generator = None if torch.is_grad_enabled() else torch.Generator().manual_seed(len(places))
        order = torch.randperm(len(places), generator=generator)[:room].to(places.device)
        chosen.append(places[order])
        room = count - len(chosen[0])
    return chosen[0], chosen[1]


@torch.no_grad()
def proposals_found(outputs: ProposalBoxes, image: int, boxes: Tensor) -> float:
    """The fraction of an image's boxes (g, 4) that a proposal overlaps by half."""
    if len(boxes) == 0:
        return 1.0
    proposals = outputs.proposals[image][outputs.are_real[image]]
    if len(proposals) == 0:
        return 0.0
    return float((box_iou(boxes, proposals).amax(dim=1) >= CLASS_IOU).float().mean())
