"""Anchors fitted to the boxes of a data set: k-means over 1 - IoU (Redmon & Farhadi 2017, arXiv:1612.08242, section 2).

B boxes, k anchors. Sides are (width, height) as fractions of what the network sees; the overlap of two is that of boxes
about one middle. Nothing here imports torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from striate.errors import InputError
from striate.units import percent

if TYPE_CHECKING:
    from striate.data.geometry import Geometry

_NUM_STARTS, _MOST_ROUNDS = 8, 200
_MOST_BOXES = 20_000
"""More boxes are sampled: the anchors of so many are those of all."""
_BLOCK = 4096
GOOD_IOU = 0.5
_TINY = 1e-12


@dataclass(frozen=True)
class FittedAnchors:
    """`sides`: k pairs (width, height), the smallest area first; `mean_iou`: of each box with the anchor that overlaps
    it most, the mean; `found`: the fraction of boxes that some anchor overlaps by GOOD_IOU; `counts`: how many boxes
    each anchor is the best of.
    """

    sides: tuple[tuple[float, float], ...]
    mean_iou: float
    found: float
    counts: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """{"anchors": [{"width", "height", "boxes"}], "mean_iou", "found"}"""
        each = zip(self.sides, self.counts, strict=True)
        anchors = [{"width": width, "height": height, "boxes": count} for (width, height), count in each]
        return {"anchors": anchors, "mean_iou": self.mean_iou, "found": self.found}

    def words(self, size: tuple[int, int]) -> str:
        """One line for people; sides in pixels of what the network sees, of this (height, width)."""
        height, width = size
        sides = ", ".join(f"{across * width:.0f} x {down * height:.0f}" for across, down in self.sides)
        return (
            f"anchors fitted to {sum(self.counts):,} boxes: {sides} pixels of {width} x {height}; the best overlaps "
            f"a box by {self.mean_iou:.2f} on average, and {percent(self.found, 0)} of boxes by half"
        )


def side_ious(sides: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Overlaps of boxes with these sides (B, 2) and anchors (k, 2) about one middle: (B, k) in [0, 1]."""
    shared = np.minimum(sides[:, None, :], anchors[None, :, :]).prod(axis=2)
    union = sides.prod(axis=1)[:, None] + anchors.prod(axis=1)[None, :] - shared
    result: np.ndarray = shared / np.maximum(union, np.finfo(float).tiny)
    return result


def fit_anchors(sides: np.ndarray, num_anchors: int, *, seed: int = 0) -> FittedAnchors:
    """The k = `num_anchors` anchors that boxes of these sides (B, 2) overlap most on average, of several starts of
    k-means.

    Each start draws its first anchors from the boxes, far ones sooner (k-means++ with the distance 1 - IoU); a round
    then gives every box to the anchor it overlaps most and moves each anchor to the mean sides of its boxes, in half of
    the starts to the median ones, which a few odd boxes pull less. Boxes without area are left out. Raises InputError
    where fewer than k different sides are left.
    """
    sides = np.asarray(sides, float).reshape(-1, 2)
    sides = sides[np.isfinite(sides).all(axis=1) & (sides > 0).all(axis=1)]
    if num_anchors < 1:
        raise InputError(f"the number of anchors must be at least 1 but is {num_anchors}")
    num_different = len(np.unique(sides, axis=0))
    if num_different < num_anchors:
        raise InputError(
            f"expected boxes of at least {num_anchors} different sizes to fit {num_anchors} anchors to but there are "
            f"{num_different}; use fewer anchors"
        )
    rng = np.random.default_rng(seed)
    sample = sides if len(sides) <= _MOST_BOXES else rng.choice(sides, _MOST_BOXES, replace=False)
    found = [
        _one_start(sample, num_anchors, rng, middle) for middle in (np.mean, np.median) for _ in range(_NUM_STARTS)
    ]
    anchors = max(found, key=lambda each: each[1])[0]
    anchors = anchors[np.argsort(anchors.prod(axis=1), kind="stable")]
    best, owner = _best(sides, anchors)
    pairs = tuple((float(width), float(height)) for width, height in anchors)
    counts = np.bincount(owner, minlength=num_anchors)
    return FittedAnchors(pairs, float(best.mean()), float((best >= GOOD_IOU).mean()), tuple(counts.tolist()))


def sides_of_objects(annotations: Any, indices: np.ndarray, geometry: "Geometry") -> np.ndarray:
    """Sides (B, 2) of the objects of these images as the network sees them through `geometry`, those ignored left out.

    `annotations` are tasks/detection/annotations.py's ObjectAnnotations; memory is a block of images.
    """
    own = annotations.objects
    matrices = geometry.matrices(annotations.sizes[indices])
    height, width = geometry.size
    place_of = np.full(len(annotations.sizes), -1)
    place_of[indices] = np.arange(len(indices))
    places = place_of[own.images]
    chosen = (places >= 0) & (own.labels >= 0) & ~own.are_ignored
    sides = own.boxes[chosen, 2:] - own.boxes[chosen, :2]
    linear = np.abs(matrices[places[chosen]][:, :, :2])
    seen = np.einsum("bij,bj->bi", linear, sides)
    result: np.ndarray = np.minimum(seen / np.array([width, height], float), 1.0)
    return result


def _one_start(
    sides: np.ndarray, num_anchors: int, rng: np.random.Generator, middle: Callable[..., Any]
) -> tuple[np.ndarray, float]:
    """One run of k-means: the best anchors (k, 2) of its rounds and their mean overlap."""
    anchors = _first_anchors(sides, num_anchors, rng)
    best_anchors, best_mean, before = anchors, -1.0, None
    for _ in range(_MOST_ROUNDS):
        overlaps, owner = _best(sides, anchors)
        if overlaps.mean() > best_mean:
            best_anchors, best_mean = anchors, float(overlaps.mean())
        if before is not None and (owner == before).all():
            break
        own = [sides[owner == place] for place in range(num_anchors)]
        anchors = np.stack([middle(each, axis=0) if len(each) else anchors[place] for place, each in enumerate(own)])
        before = owner
    return best_anchors, best_mean


def _first_anchors(sides: np.ndarray, num_anchors: int, rng: np.random.Generator) -> np.ndarray:
    """k different boxes, each drawn in proportion to how little those before overlap it."""
    chosen = [int(rng.integers(len(sides)))]
    distances = 1 - side_ious(sides, sides[chosen])[:, 0]
    while len(chosen) < num_anchors:
        distances = np.where(distances < _TINY, 0.0, distances)
        weights = distances if distances.any() else np.ones(len(sides))
        chosen.append(int(rng.choice(len(sides), p=weights / weights.sum())))
        distances = np.minimum(distances, 1 - side_ious(sides, sides[chosen[-1:]])[:, 0])
    return sides[chosen]


def _best(sides: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The overlap of each box (B,) with the anchor that overlaps it most, and which that is (B,)."""
    parts = [side_ious(sides[start : start + _BLOCK], anchors) for start in range(0, len(sides), _BLOCK)]
    ious = np.concatenate(parts)
    return ious.max(axis=1), ious.argmax(axis=1)
