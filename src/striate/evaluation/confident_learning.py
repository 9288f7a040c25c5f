"""Confident learning: which labels are probably wrong, from probabilities of classifiers that did not see them.

Northcutt, Jiang & Chuang 2021, arXiv:1911.00068. N images, K classes; rows of the joint are given labels, columns the
labels that the probabilities speak for.
"""

from dataclasses import dataclass

import numpy as np

from striate.errors import InputError


@dataclass(frozen=True, eq=False)
class RankedLabels:
    """Images whose most probable class is not the given one, the least believable label first.

    `order` (n,) are their places; `suggested` (N,) is the most probable class of every image and `self_confidence` (N,)
    the probability of its given label. `is_confident` (N,): off the diagonal of the confident joint (K, K), in which
    `joint` counts images. `num_estimated` is how many labels are wrong by that joint, calibrated to the number of
    images of each class.
    """

    order: np.ndarray
    suggested: np.ndarray
    self_confidence: np.ndarray
    is_confident: np.ndarray
    joint: np.ndarray
    num_estimated: int


def rank_labels(probabilities: np.ndarray, labels: np.ndarray) -> RankedLabels:
    """Rank labels (N,) by self-confidence, given out-of-fold probabilities (N, K); see `RankedLabels`.

    The order is that of self-confidence alone, and the joint only says how many to believe: filtering by the joint
    dropped wrong labels that the plain order had. Raises InputError for shapes that do not fit and for values that are
    no probabilities.
    """
    check_probabilities(probabilities, labels)
    rows = np.arange(len(labels))
    joint, speaks_for = confident_joint(probabilities, labels)
    suggested = probabilities.argmax(axis=1)
    own = probabilities[rows, labels]
    disagrees = np.flatnonzero(suggested != labels)
    margin = own - probabilities.max(axis=1)
    order = disagrees[np.lexsort((margin[disagrees], own[disagrees]))]
    is_confident = (speaks_for >= 0) & (speaks_for != labels)
    return RankedLabels(order, suggested, own, is_confident, joint, estimate_errors(joint, labels))


def confident_joint(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts (K, K) of images by given label and by the class they confidently are, and that class of each, (N,), -1
    for none.

    An image confidently is of the most probable of those classes whose probability reaches the mean that images
    labelled so give it (equation 1 and the definition of C).
    """
    num_classes = probabilities.shape[1]
    thresholds = np.array(
        [probabilities[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(num_classes)]
    )
    reached = np.where(probabilities >= thresholds - 1e-12, probabilities, -1)
    speaks_for = np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)
    joint = np.zeros((num_classes, num_classes), np.int64)
    counted = speaks_for >= 0
    np.add.at(joint, (labels[counted], speaks_for[counted]), 1)
    return joint, speaks_for


def estimate_errors(joint: np.ndarray, labels: np.ndarray) -> int:
    """How many labels are wrong: the joint's rows scaled to the images of each class (equation 2), off the diagonal,
    rounded.
    """
    totals = joint.sum(axis=1)
    counts = np.bincount(labels, minlength=len(joint))
    wrong = np.where(totals > 0, (totals - np.diag(joint)) / np.maximum(totals, 1) * counts, 0)
    return round(float(wrong.sum()))


def check_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> None:
    """Raise InputError unless there is a row of probabilities for each label, and each label has a column."""
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise InputError(
            f"expected probabilities (N, K) and labels (N,) of one image or more but got {probabilities.shape} and "
            f"{labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise InputError(
            f"labels must lie in [0, {probabilities.shape[1] - 1}] but run from {labels.min()} to {labels.max()}"
        )
    low, high = float(probabilities.min()), float(probabilities.max())
    if not (low >= 0 and high <= 1 + 1e-6):
        raise InputError(f"probabilities must lie in [0, 1] but run from {low:.3g} to {high:.3g}; apply a softmax")
