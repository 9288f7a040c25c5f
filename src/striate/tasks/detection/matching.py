"""Whether two lists of detections say the same, whatever their order. n images. Nothing here imports torch."""

import numpy as np

from striate.tasks.detection.mistakes import pairwise_iou
from striate.tasks.detection.values import Found, read_values

SAME_IOU, SAME_PLACE_IOU = 0.75, 0.97
"""Boxes that overlap by so much are of the same object, and found at the same place. Neighbouring places find an object
nearly as surely, and which of them is the surest may hang on the last digit.
"""
BORDERLINE_IOU = 0.35
"""A box that overlaps a surer one of its class by this much remained by little: rounding may put it down, or one like
it up.
"""


def same_detections(values: np.ndarray, reference: np.ndarray, num_classes: int, least_score: float) -> np.ndarray:
    """(n,) bool: whether each detection of at least this score, borderline ones aside, has one of its class and place
    in the other list, both ways.
    """
    pairs = zip(read_values(values, num_classes), read_values(reference, num_classes), strict=True)
    return np.array(
        [
            _has_all(one.above(least_score), other) and _has_all(other.above(least_score), one)
            for one, other in _near(pairs, least_score)
        ],
        bool,
    )


def largest_differences(values: np.ndarray, reference: np.ndarray, num_classes: int, least_score: float) -> np.ndarray:
    """(n,) the largest difference of a score of the reference's detections of at least this score to their
    counterparts', and of a border where both were found at the same place; 1 where there is no counterpart.
    """
    if values.shape != reference.shape:
        return np.full(len(reference), np.inf)
    differences = []
    for one, other in zip(read_values(values, num_classes), read_values(reference, num_classes), strict=True):
        own = other.above(least_score)
        own = own.of(~_are_borderline(own))
        worst = 0.0
        for box, score, label in zip(own.boxes, own.scores, own.labels, strict=True):
            alike = one.labels == label
            ious = pairwise_iou(one.boxes[alike], box[None])[:, 0]
            moved = np.where(ious >= SAME_PLACE_IOU, np.abs(one.boxes[alike] - box).max(axis=1, initial=0), 0.0)
            apart = np.where(ious >= SAME_IOU, np.maximum(moved, np.abs(one.scores[alike] - score)), 1.0)
            worst = max(worst, float(apart.min(initial=1.0)))
        differences.append(worst)
    return np.array(differences)


def _near(pairs: "zip[tuple[Found, Found]]", least_score: float) -> list[tuple[Found, Found]]:
    """Both lists down to half the score, so that one just below it can be the other's counterpart."""
    return [(one.above(least_score / 2), other.above(least_score / 2)) for one, other in pairs]


def _has_all(wanted: Found, there: Found) -> bool:
    wanted = wanted.of(~_are_borderline(wanted))
    ious = pairwise_iou(wanted.boxes, there.boxes)
    alike = wanted.labels[:, None] == there.labels[None]
    return bool((np.where(alike, ious, 0).max(axis=1, initial=0) >= SAME_IOU).all())


def _are_borderline(found: Found) -> np.ndarray:
    """(d,) bool: which overlap a surer one of their class by BORDERLINE_IOU."""
    ious = np.tril(pairwise_iou(found.boxes, found.boxes), -1)
    alike = found.labels[:, None] == found.labels[None]
    result: np.ndarray = np.where(alike, ious, 0).max(axis=1, initial=0) >= BORDERLINE_IOU
    return result
