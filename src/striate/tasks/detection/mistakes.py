"""What is wrong with detections, sorted by kind, as TIDE does (Bolya et al. 2020, arXiv:2008.08115, section 2.2)."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from striate.tasks.detection.average_precision import Truths
from striate.tasks.detection.values import Found

RIGHT_IOU, BACKGROUND_IOU = 0.5, 0.1
KINDS = ("class", "place", "both", "double", "background", "missed")
"""Another's class; the box off its object; both; an object found twice; nothing there; an object not found."""


@dataclass(frozen=True)
class ImageMistakes:
    """Of one image: how often each kind occurs, how many detections are right, and how many objects there are."""

    counts: dict[str, int]
    num_right: int
    num_objects: int

    @property
    def total(self) -> int:
        """All mistakes of it."""
        return sum(self.counts.values())


def sort_mistakes(truths: Truths, found: Found) -> ImageMistakes:
    """The mistakes of detections, best first, in one image. What overlaps an ignored region counts as neither right nor
    wrong.
    """
    real = ~truths.are_ignored & (truths.labels >= 0)
    boxes, labels = truths.boxes[real], truths.labels[real]
    ious = pairwise_iou(found.boxes, boxes)
    in_ignored = covered(found.boxes, truths.boxes[truths.are_ignored]) >= RIGHT_IOU
    taken = np.zeros(len(boxes), bool)
    kinds: Counter[str] = Counter()
    explained = np.zeros(len(boxes), bool)
    for place in range(len(found.scores)):
        own = ious[place]
        of_class = np.where(labels == found.labels[place], own, -1.0)
        of_others = np.where(labels != found.labels[place], own, -1.0)
        free = np.where(taken, -1.0, of_class)
        if free.max(initial=-1) >= RIGHT_IOU:
            taken[free.argmax()] = True
        elif in_ignored[place]:
            continue
        elif of_class.max(initial=-1) >= RIGHT_IOU:
            kinds["double"] += 1
        elif of_others.max(initial=-1) >= RIGHT_IOU:
            kinds["class"] += 1
            explained[of_others.argmax()] = True
        elif of_class.max(initial=-1) >= BACKGROUND_IOU:
            kinds["place"] += 1
            explained[of_class.argmax()] = True
        elif of_others.max(initial=-1) >= BACKGROUND_IOU:
            kinds["both"] += 1
        else:
            kinds["background"] += 1
    kinds["missed"] = int((~taken & ~explained).sum())
    return ImageMistakes({kind: kinds[kind] for kind in KINDS}, int(taken.sum()), len(boxes))


def pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each (a, 4) with each (b, 4): (a, b)."""
    shared = _shared(boxes, others)
    areas, other_areas = _areas(boxes), _areas(others)
    result: np.ndarray = shared / np.maximum(areas[:, None] + other_areas - shared, 1e-12)
    return result


def covered(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The largest part of each box (a, 4) that one of the regions covers: (a,)."""
    result: np.ndarray = (_shared(boxes, regions) / np.maximum(_areas(boxes), 1e-12)[:, None]).max(axis=1, initial=0.0)
    return result


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    upper = np.maximum(boxes[:, None, :2], others[None, :, :2])
    lower = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    result: np.ndarray = np.clip(lower - upper, 0, None).prod(axis=2)
    return result


def _areas(boxes: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    return result
