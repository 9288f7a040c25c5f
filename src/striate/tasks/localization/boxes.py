"""Boxes as tensors: how far two overlap, and how a network's four numbers become one. n boxes, (x1, y1, x2, y2), in any
unit.
"""

import torch
from torch import Tensor


def as_boxes(corners: Tensor) -> Tensor:
    """Any four numbers an image, two corners, as boxes whose first corner is upper left: (n, 4) -> (n, 4),
    differentiable.
    """
    first, second = corners[:, :2], corners[:, 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], dim=1)


def areas(boxes: Tensor) -> Tensor:
    """Areas (n,); 0 for boxes that are turned inside out."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0)
    return sides[:, 0] * sides[:, 1]


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of each box with its other one, (n,) in [0, 1]; 0 where both have no area."""
    shared = areas(_intersections(boxes, others))
    union = areas(boxes) + areas(others) - shared
    return shared / union.clamp(min=torch.finfo(union.dtype).tiny)


def generalized_box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU of each box with its other one, (n,) in [-1, 1] (Rezatofighi et al. 2019, arXiv:1902.09630,
    algorithm 1).

    Apart, boxes still have a gradient: it is the IoU less the part of the smallest box about both that neither covers.
    """
    tiny = torch.finfo(boxes.dtype).eps
    shared = areas(_intersections(boxes, others))
    union = areas(boxes) + areas(others) - shared
    upper = torch.minimum(boxes[:, :2], others[:, :2])
    lower = torch.maximum(boxes[:, 2:], others[:, 2:])
    around = areas(torch.cat([upper, lower], dim=1))
    return shared / union.clamp(min=tiny) - (around - union) / around.clamp(min=tiny)


def _intersections(boxes: Tensor, others: Tensor) -> Tensor:
    """What both cover, turned inside out where that is nothing: (n, 4)."""
    upper = torch.maximum(boxes[:, :2], others[:, :2])
    lower = torch.minimum(boxes[:, 2:], others[:, 2:])
    return torch.cat([upper, lower], dim=1)
