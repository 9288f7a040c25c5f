"""Probabilities for each image from a classifier that was not fitted on it. N images, D features, K classes.

The classifier is softmax regression on features scaled to mean 0 and deviation 1 by the images it is fitted on.
"""

import warnings
from collections import Counter

import numpy as np

from striate.errors import InputError
from striate.progress import Track, track_silently

PENALTIES = (1.0, 10.0, 100.0, 300.0, 1000.0)
"""Strengths of the L2 penalty that are tried; the loss is a sum over images, so that 1 is scikit-learn's usual C = 1.
"""
_MOST_FOR_CHOICE = 2_000
_MOST_ITERATIONS = 100


def stratified_folds(labels: np.ndarray, groups: np.ndarray, num_folds: int, *, seed: int) -> np.ndarray:
    """A fold 0..num_folds-1 for each image, (N,): images of one group stay together, each class is spread evenly.

    `groups` (N,) numbers copies alike. The class of a group is its commonest. Raises InputError unless there are two
    folds or more.
    """
    if num_folds < 2:
        raise InputError(f"folds must be at least 2 but are {num_folds}")
    _, numbers = np.unique(groups, return_inverse=True)
    members: dict[int, list[int]] = {}
    for index, group in enumerate(numbers.tolist()):
        members.setdefault(group, []).append(int(labels[index]))
    of_class: dict[int, list[int]] = {}
    for group in np.random.default_rng(seed).permutation(len(members)).tolist():
        of_class.setdefault(Counter(members[group]).most_common(1)[0][0], []).append(group)
    fold_of_group = np.zeros(len(members), np.int64)
    start = 0  # classes begin where the last one ended, so that folds are equally large
    for label in sorted(of_class):
        for group in of_class[label]:
            fold_of_group[group] = start % num_folds
            start += 1
    return fold_of_group[numbers]


def out_of_fold_probabilities(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    num_classes: int,
    *,
    penalty: float | None = None,
    track: Track = track_silently,
) -> np.ndarray:
    """Softmax regression fitted on all folds but an image's own: features (N, D), labels (N,) -> probabilities (N, K)
    float64.

    Classes that a fit has no image of get 0. Without `penalty` that of PENALTIES is taken whose out-of-fold likelihood
    is the highest, on at most 2,000 images.
    """
    if penalty is None:
        penalty = choose_penalty(features, labels, folds, num_classes)
    probabilities = np.zeros((len(labels), num_classes))
    numbers = np.unique(folds).tolist()
    for fold in track(numbers, "fitting on the other folds", len(numbers)):
        held = folds == fold
        probabilities[held] = fit_softmax(features[~held], labels[~held], features[held], num_classes, penalty)
    return probabilities


def choose_penalty(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, num_classes: int) -> float:
    """The strength of PENALTIES with the highest mean out-of-fold log-likelihood of the labels."""
    chosen = np.arange(len(labels))
    if len(labels) > _MOST_FOR_CHOICE:
        chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:_MOST_FOR_CHOICE])
    share = len(chosen) / len(labels)  # with fewer images the same penalty would weigh more
    part, own, own_folds = features[chosen], labels[chosen], folds[chosen]

    def likelihood(penalty: float) -> float:
        found = out_of_fold_probabilities(part, own, own_folds, num_classes, penalty=penalty * share)
        return float(np.log(np.maximum(found[np.arange(len(own)), own], 1e-6)).mean())

    return max(PENALTIES, key=likelihood)


def fit_softmax(
    features: np.ndarray, labels: np.ndarray, others: np.ndarray, num_classes: int, penalty: float
) -> np.ndarray:
    """Softmax regression fitted on features (N, D) and labels (N,): probabilities (n, K) of others (n, D)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    probabilities = np.zeros((len(others), num_classes))
    present = np.unique(labels)
    if len(present) == 1:
        probabilities[:, present] = 1
        return probabilities
    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std < 1e-6, 1, std)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits do not matter here
        model = LogisticRegression(C=1 / penalty, max_iter=_MOST_ITERATIONS)
        model.fit((features - mean) / std, labels)
    probabilities[:, present] = model.predict_proba((others - mean) / std)
    return probabilities
