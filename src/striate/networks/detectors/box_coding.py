"""Boxes as changes of anchors and back: R-CNN's four numbers (Girshick et al. 2014, arXiv:1311.2524, appendix C),
scaled as in SSD.
"""

import math

import torch
from torch import Tensor

SSD_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""What the four numbers are multiplied by: one over the "variances" of SSD's authors, 0.1 and 0.2."""
MOST_LOG_SIDE = math.log(1000 / 16)
"""A box is at most so many times as wide and high as its anchor, as in Detectron."""


def encode(boxes: Tensor, anchors: Tensor, weights: tuple[float, float, float, float] = SSD_WEIGHTS) -> Tensor:
    """What `decode` makes these boxes of: twice (..., 4), (x1, y1, x2, y2) -> (..., 4)."""
    x, y, width, height = centers_and_sides(boxes)
    at_x, at_y, of_width, of_height = centers_and_sides(anchors)
    wx, wy, ww, wh = weights
    return torch.stack(
        [
            wx * (x - at_x) / of_width,
            wy * (y - at_y) / of_height,
            ww * (width / of_width).log(),
            wh * (height / of_height).log(),
        ],
        dim=-1,
    )


def decode(deltas: Tensor, anchors: Tensor, weights: tuple[float, float, float, float] = SSD_WEIGHTS) -> Tensor:
    """Anchors, changed: deltas (..., 4), anchors (..., 4) -> boxes (..., 4)."""
    at_x, at_y, of_width, of_height = centers_and_sides(anchors)
    dx, dy, dw, dh = (part / weight for part, weight in zip(deltas.unbind(-1), weights, strict=True))
    x, y = at_x + dx * of_width, at_y + dy * of_height
    width = of_width * dw.clamp(max=MOST_LOG_SIDE).exp()
    height = of_height * dh.clamp(max=MOST_LOG_SIDE).exp()
    return torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=-1)


def centers_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x and y of the middle, width and height, of boxes (..., 4)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
