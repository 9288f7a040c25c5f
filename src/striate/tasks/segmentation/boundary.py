"""Boundary F: how well the borders of classes are found (Csurka et al. 2013, BMVC, section 3). H x W pixels, K
classes.
"""

import math

import numpy as np
from scipy.ndimage import distance_transform_edt

from striate.data.masks import IGNORED

TOLERANCE = 0.0075
"""How far a border may be off, in parts of the image's diagonal, as in that paper."""


def boundary_scores(
    predicted: np.ndarray, true: np.ndarray, num_classes: int, *, tolerance: float = TOLERANCE
) -> np.ndarray:
    """The F of each class in one image, (K,) float64: NaN for classes that its true mask lacks.

    Masks (H, W) uint8; where `true` is IGNORED nothing counts. F is the harmonic mean of the fraction of predicted
    border pixels that lie within the tolerance of a true one, and of true ones within it of a predicted one; the
    tolerance is at least a pixel. A class that is predicted nowhere has 0.
    """
    reach = max(1.0, tolerance * math.hypot(*true.shape))
    counted = true != IGNORED
    given = np.where(counted, predicted, IGNORED)
    scores = np.full(num_classes, np.nan)
    for k in np.unique(true[counted]).tolist():
        is_given = given == k
        found = _score(border(is_given) & counted, border(true == k) & counted, reach) if is_given.any() else 0.0
        scores[k] = found
    return scores


def border(inside: np.ndarray) -> np.ndarray:
    """The pixels (H, W) bool of a region that have a neighbour outside of it, the image's own edge aside."""
    padded = np.pad(inside, 1, mode="edge")
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    result: np.ndarray = inside & ~surrounded
    return result


def _score(predicted: np.ndarray, true: np.ndarray, reach: float) -> float:
    if not predicted.any() or not true.any():
        return float(predicted.any() == true.any())
    precision = float((_distances(true, predicted) <= reach).mean())
    recall = float((_distances(predicted, true) <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _distances(to: np.ndarray, of: np.ndarray) -> np.ndarray:
    """How far the pixels `of` are from the nearest of `to`, in pixels: one number each."""
    rows, columns = np.flatnonzero((to | of).any(axis=1)), np.flatnonzero((to | of).any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    result: np.ndarray = distance_transform_edt(~to[part])[of[part]]
    return result
