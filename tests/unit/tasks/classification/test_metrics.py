"""Figures of six answers, small enough to do on paper."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

from striate.tasks.classification.figures import figures_of
from striate.tasks.classification.metrics import (
    Answers,
    balanced_accuracy,
    calibration_bins,
    calibration_error,
    class_figures,
    confusion_matrix,
    most_confused,
    topk_accuracy,
)

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 1, 1, 1, 1])
NAMES = ("a", "b", "c", "never seen")


@pytest.fixture
def answers() -> Answers:
    return Answers(
        labels=LABELS,
        predicted=PREDICTED,
        ranks=np.array([0, 0, 1, 0, 0, 5]),
        losses=np.ones(6),
        confidences=np.array([0.9, 0.9, 0.6, 0.6, 0.6, 0.6]),
    )


def test_shares_and_their_intervals(answers: Answers) -> None:
    assert topk_accuracy(answers, 1).value == pytest.approx(4 / 6)
    assert topk_accuracy(answers, 5).value == pytest.approx(5 / 6)
    low, high = topk_accuracy(answers, 1).interval
    assert low < 4 / 6 < high


def test_rows_are_labels_and_columns_answers(answers: Answers) -> None:
    assert confusion_matrix(answers, 4).tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_each_class_and_what_is_undefined(answers: Answers) -> None:
    a, b, c, never = class_figures(answers, NAMES)
    assert (a.precision, a.recall, a.f1, a.support, a.num_predicted) == (1, pytest.approx(2 / 3), 0.8, 3, 2)
    assert (b.precision, b.recall, b.f1) == (0.5, 1, pytest.approx(2 / 3))
    assert (c.precision, c.recall, c.f1) == (None, 0, 0)
    assert (never.precision, never.recall, never.f1, never.support) == (None, None, None, 0)


def test_classes_without_images_do_not_count_in_the_mean(answers: Answers) -> None:
    figures = class_figures(answers, NAMES)
    assert balanced_accuracy(figures) == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_calibration(answers: Answers) -> None:
    """Two answers at 0.9, both right; four at 0.6, two right: |1 - 0.9| * 2/6 + |0.5 - 0.6| * 4/6 = 0.1."""
    bins = calibration_bins(answers)
    assert [(each.count, each.accuracy) for each in bins] == [(4, 0.5), (2, 1.0)]
    assert [each.confidence for each in bins] == pytest.approx([0.6, 0.9])
    assert calibration_error(bins) == pytest.approx(0.1)


def test_confidences_at_the_ends_have_a_bin() -> None:
    ends = Answers(*(np.array([0, 0]) for _ in range(3)), np.zeros(2), np.array([0.0, 1.0]))
    assert [each.count for each in calibration_bins(ends)] == [1, 1]


def test_commonest_mistakes_first(answers: Answers) -> None:
    labels, predicted = np.append(LABELS, [3] * 7), np.append(PREDICTED, [0] * 7)
    more = dataclasses.replace(answers, labels=labels, predicted=predicted)
    assert most_confused(more) == [(3, 0, 7), (0, 1, 1), (2, 1, 1)]
    assert most_confused(more, most=1) == [(3, 0, 7)]
    right = dataclasses.replace(answers, predicted=LABELS)
    assert most_confused(right) == []


def test_memory_grows_with_the_classes_and_not_with_their_square() -> None:
    """A matrix of 20,000 classes would take 3.2 GB."""
    num_classes, num_images = 20_000, 40_000
    labels, predicted = np.arange(num_images) % num_classes, np.arange(num_images) % 7
    many = Answers(labels, predicted, labels % 9, np.ones(num_images), np.full(num_images, 0.5))
    tracemalloc.start()
    evaluation = figures_of(many, np.arange(num_images), tuple(map(str, range(num_classes))))
    written = evaluation.to_json()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    assert evaluation.confusion is written["confusion"] is None
    assert len(written["most_confused"]) == 50
    assert written["most_confused"][0] == {
        "label": "0",
        "predicted": "1",
        "count": 1,
    }  # image 20,000: class 0, 20,000 % 7
