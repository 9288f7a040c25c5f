"""SSD's loss: every default box that fits an object learns its class and its place, and the hardest of the others that
there is nothing (Liu et al. 2016, arXiv:1512.02325, section 2.2). n images, A anchors, G boxes of one, K classes.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from striate.networks.detectors.box_coding import encode
from striate.networks.detectors.boxes import AnchorBoxes

MATCHED_IOU = 0.5
NEGATIVES = 3
"""So many times as many anchors without an object as with one are learnt from in an image."""
LEAST_NEGATIVES = 16
"""In an image without any object, too, so many."""
UNMATCHED = -1


def are_objects(targets: Any) -> Tensor:
    """(n, G) bool: which targets are objects to be found."""
    result: Tensor = (targets["labels"] >= 0) & ~targets["are_ignored"]
    return result


def match(anchors: Tensor, boxes: Tensor) -> Tensor:
    """The box that each anchor fits, or UNMATCHED: (A,) int64. Every box has at least the anchor that fits it best."""
    if len(boxes) == 0:
        return torch.full((len(anchors),), UNMATCHED, dtype=torch.int64, device=anchors.device)
    ious = box_iou(boxes, anchors)  # (G, A)
    best, owner = ious.max(dim=0)
    owner = torch.where(best >= MATCHED_IOU, owner, torch.full_like(owner, UNMATCHED))
    nearest = ious.argmax(dim=1)
    owner[nearest] = torch.arange(len(boxes), device=anchors.device)
    return owner


def matches(outputs: AnchorBoxes, targets: Any) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of each image its boxes (g, 4), their classes (g,), what each anchor fits (A,), and which anchors lie in ignored
    regions (A,).
    """
    real, result = are_objects(targets), []
    for image in range(len(real)):
        own = real[image]
        boxes, labels = targets["boxes"][image][own], targets["labels"][image][own]
        ignored = targets["boxes"][image][targets["are_ignored"][image]]
        inside = middles_inside(outputs.anchors, ignored)
        result.append((boxes, labels, match(outputs.anchors, boxes), inside))
    return result


def places_and_owners(matched: Tensor) -> tuple[Tensor, Tensor]:
    """The anchors that fit a box, and which: twice (a,)."""
    places = (matched >= 0).nonzero().flatten()
    return places, matched[places]


def multibox_sum(outputs: AnchorBoxes, targets: Any) -> Tensor:
    """Smooth L1 of the changes and cross-entropy of the classes of each image's anchors that count, by the number that
    fit a box, as in the paper's equation 1, but image by image; images count by their boxes and one more.
    """
    total = outputs.logits.new_zeros((), dtype=torch.float32)
    for image, (boxes, labels, matched, in_ignored) in enumerate(matches(outputs, targets)):
        sums = multibox_of_image(outputs, image, boxes, labels, matched, in_ignored)
        num_matched = (matched >= 0).sum().clamp(min=1)
        total = total + sum(sums) * (len(boxes) + 1) / num_matched
    return total


def multibox_of_image(
    outputs: AnchorBoxes, image: int, boxes: Tensor, labels: Tensor, matched: Tensor, in_ignored: Tensor
) -> tuple[Tensor, Tensor]:
    """The summed loss of the boxes and of the classes."""
    places, owners = places_and_owners(matched)
    wanted = encode(boxes[owners], outputs.anchors[places])
    box_loss = F.smooth_l1_loss(outputs.deltas[image, places].float(), wanted, reduction="sum")
    classes = torch.zeros_like(matched)
    classes[places] = labels[owners] + 1
    losses = F.cross_entropy(outputs.logits[image].float(), classes, reduction="none")
    is_negative = (matched < 0) & ~in_ignored
    count = min(int(is_negative.sum()), NEGATIVES * len(places) or LEAST_NEGATIVES)
    hardest = torch.where(is_negative, losses, -torch.inf).topk(count).values
    return box_loss, losses[places].sum() + hardest.sum()


def middles_inside(anchors: Tensor, regions: Tensor) -> Tensor:
    """(A,) bool: whether the middle of an anchor (A, 4) lies in one of the regions (R, 4)."""
    x, y = (anchors[:, None, 0] + anchors[:, None, 2]) / 2, (anchors[:, None, 1] + anchors[:, None, 3]) / 2
    return ((x > regions[:, 0]) & (x < regions[:, 2]) & (y > regions[:, 1]) & (y < regions[:, 3])).any(dim=1)
