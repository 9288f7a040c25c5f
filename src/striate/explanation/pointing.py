"""The pointing game: does a map's highest point lie on an object of the class? (Zhang et al. 2016, arXiv:1608.00507,
section 4.2).
"""

from collections.abc import Sequence

import numpy as np

from striate.errors import InputError


def points_at(plane: np.ndarray, boxes_xyxy: np.ndarray, *, tolerance_px: float = 15.0) -> bool:
    """Whether the highest point of a map (H, W) lies in one of the boxes (R, 4), or at most `tolerance_px` away, as the
    paper allows.

    Boxes are (x, y, x, y) in pixels of the map, the whole being (0, 0, W, H). Of several highest points the first
    counts.
    """
    boxes = np.asarray(boxes_xyxy, float).reshape(-1, 4)
    if plane.ndim != 2 or not len(boxes):
        raise InputError(f"expected a map (H, W) and at least one box but got {plane.shape} and {len(boxes)} boxes")
    row, column = np.unravel_index(int(plane.argmax()), plane.shape)
    x, y = column + 0.5, row + 0.5
    outside_x = np.maximum(np.maximum(boxes[:, 0] - x, x - boxes[:, 2]), 0)
    outside_y = np.maximum(np.maximum(boxes[:, 1] - y, y - boxes[:, 3]), 0)
    return bool((np.hypot(outside_x, outside_y) <= tolerance_px).any())


def energy_inside(plane: np.ndarray, boxes_xyxy: np.ndarray) -> float:
    """The fraction of a map's positive values that lies inside any of the boxes, [0, 1] (arXiv:1910.01279, section
    4.3); 0 without any.
    """
    inside = np.zeros(plane.shape, bool)
    for left, top, right, bottom in np.asarray(boxes_xyxy, float).reshape(-1, 4):
        inside[max(0, round(top)) : max(0, round(bottom)), max(0, round(left)) : max(0, round(right))] = True
    positive = np.clip(plane, 0, None)
    return float(positive[inside].sum() / positive.sum()) if positive.any() else 0.0


def pointing_game(
    planes: Sequence[np.ndarray], boxes: Sequence[np.ndarray], *, tolerance_px: float = 15.0
) -> tuple[int, int]:
    """Hits and tries of the pointing game over maps and the boxes of each one's class; images without a box do not
    count.
    """
    tries = [(plane, own) for plane, own in zip(planes, boxes, strict=True) if len(own)]
    return sum(points_at(plane, own, tolerance_px=tolerance_px) for plane, own in tries), len(tries)
