"""Figures of a classifier from what it answered to each image. N images, K classes; fractions lie in [0, 1].

A figure that is undefined (the precision of a class never predicted, the recall of a class without images) is None,
never 0.
"""

from dataclasses import dataclass

import numpy as np

from striate.tasks.intervals import Fraction, fraction_of

NUM_BINS = 15


@dataclass(frozen=True)
class Answers:
    """Per-image outcomes, arrays (N,): a few numbers each, so that a million images fit in memory.

    `labels`, `predicted` are class indices; `ranks` counts the classes ranked before the right one (0 is a hit);
    `losses` is the negative log-likelihood of the right class in nats; `confidences` is the probability of the
    predicted class.
    """

    labels: np.ndarray
    predicted: np.ndarray
    ranks: np.ndarray
    losses: np.ndarray
    confidences: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class. `support` is the number of its images, `num_predicted` how often it was the answer."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    num_predicted: int


@dataclass(frozen=True)
class CalibrationBin:
    """The images whose confidence lies in one fifteenth of [0, 1]: how sure the network was, how often it was right."""

    confidence: float
    accuracy: float
    count: int


def topk_accuracy(answers: Answers, k: int) -> Fraction:
    """The share of images whose right class is among the k most probable."""
    num_hits = int((answers.ranks < k).sum())
    return fraction_of(num_hits, len(answers))


def confusion_matrix(answers: Answers, num_classes: int) -> np.ndarray:
    """Counts (K, K) int64: rows are the right classes, columns the answers."""
    cells = answers.labels.astype(np.int64) * num_classes + answers.predicted
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_figures(answers: Answers, class_names: tuple[str, ...]) -> list[ClassFigures]:
    """Precision, recall and F1 of every class. F1 is 2 hits / (support + num_predicted), None only where both are 0."""
    num_classes = len(class_names)
    support, num_predicted = (np.bincount(each, minlength=num_classes) for each in (answers.labels, answers.predicted))
    hits = np.bincount(answers.labels[answers.labels == answers.predicted], minlength=num_classes)
    return [
        ClassFigures(
            name=name,
            precision=_ratio(hits[k], num_predicted[k]),
            recall=_ratio(hits[k], support[k]),
            f1=_ratio(2 * hits[k], support[k] + num_predicted[k]),
            support=int(support[k]),
            num_predicted=int(num_predicted[k]),
        )
        for k, name in enumerate(class_names)
    ]


def balanced_accuracy(figures: list[ClassFigures]) -> float:
    """The mean recall of the classes that have images: what accuracy would be if all were equally frequent."""
    return float(np.mean([figure.recall for figure in figures if figure.recall is not None]))


def calibration_bins(answers: Answers) -> list[CalibrationBin]:
    """The images in fifteen bins of equal width by confidence, edges in the lower bin, empty bins left out."""
    bins = np.clip(np.ceil(answers.confidences * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    return [
        CalibrationBin(
            confidence=float(answers.confidences[bins == number].mean()),
            accuracy=float((answers.ranks[bins == number] == 0).mean()),
            count=int((bins == number).sum()),
        )
        for number in np.unique(bins)
    ]


def calibration_error(bins: list[CalibrationBin]) -> float:
    """Expected calibration error, the mean gap between confidence and accuracy over images: arXiv:1706.04599, eq. 3."""
    num_images = sum(each.count for each in bins)
    return sum(each.count * abs(each.confidence - each.accuracy) for each in bins) / num_images


def adaptive_calibration_error(answers: Answers) -> float:
    """The calibration error of confidences in fifteen bins that hold equally many images each (arXiv:1904.01685,
    section 3).

    Bins of equal width leave most images in one bin; these spread them. Images are ordered by confidence, of equal ones
    as they come.
    """
    order = np.argsort(answers.confidences, kind="stable")
    confidences, hits = answers.confidences[order], (answers.ranks[order] == 0).astype(float)
    starts = np.unique(np.linspace(0, len(answers), min(NUM_BINS, len(answers)) + 1).astype(np.int64)[:-1])
    gaps = np.add.reduceat(confidences, starts) - np.add.reduceat(hits, starts)
    return float(np.abs(gaps).sum() / len(answers))


def most_confused(answers: Answers, most: int = 50) -> list[tuple[int, int, int]]:
    """(right class, answer, count) of the commonest kinds of mistake, commonest first, then by class and answer."""
    is_mistake = answers.labels != answers.predicted
    pairs = np.stack([answers.labels[is_mistake], answers.predicted[is_mistake]], axis=1)
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(int(kinds[k, 0]), int(kinds[k, 1]), int(counts[k])) for k in order]


def _ratio(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
