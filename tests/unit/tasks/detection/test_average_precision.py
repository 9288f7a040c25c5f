"""Average precision: pycocotools' on random and adversarial cases, VOC's by hand."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.tasks.detection.average_precision import (
    Truths,
    _dataset,
    _results,
    average_precision,
    resampled,
    voc_average_precision,
)
from striate.tasks.detection.values import Found

NONE = Found(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def truths_of(boxes, labels, ignored=None) -> Truths:
    boxes, labels = np.array(boxes, float).reshape(-1, 4), np.array(labels, np.int64)
    return Truths((100, 200), boxes, labels, np.zeros(len(labels), bool) if ignored is None else np.array(ignored))


def found_of(boxes, scores, labels) -> Found:
    return Found(np.array(boxes, float).reshape(-1, 4), np.array(scores, float), np.array(labels, np.int64))


@st.composite
def images(draw):
    """Three images of two classes: boxes on a coarse grid, so that borders and scores coincide often."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truths, found = [], []
    for _ in range(3):
        count, num_found = rng.integers(0, 5), rng.integers(0, 8)
        corner = rng.integers(0, 5, (count + num_found, 2)) / 10
        boxes = np.concatenate([corner, corner + rng.integers(1, 6, (count + num_found, 2)) / 10], axis=1)
        labels = rng.integers(0, 2, count)
        ignored = rng.random(count) < 0.2
        labels[ignored & (rng.random(count) < 0.5)] = -1
        truths.append(truths_of(boxes[:count], labels, ignored))
        scores = -np.sort(-rng.integers(1, 6, num_found) / 5)
        copied = rng.random(num_found) < 0.5
        own = boxes[count:]
        if count:
            own[copied] = boxes[rng.integers(0, count, copied.sum())]
        found.append(found_of(own, scores, rng.integers(0, 2, num_found)))
    return truths, found


@settings(max_examples=30, deadline=None)
@given(images())
def test_equals_pycocotools(case):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, found = case
    own = average_precision(truths, found, 2)
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = _dataset(truths, 2)
        gt.createIndex()
        results = _results(truths, found)
        if not len(results):
            return
        judge = COCOeval(gt, gt.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    expected = [None if value < 0 else value for value in judge.stats[:6]]
    assert [own.ap, own.ap50, own.ap75, own.small, own.medium, own.large] == pytest.approx(expected, abs=1e-6)


def test_voc_by_hand():
    """Two objects, found in the order right, wrong, right: precision 1 up to recall 1/2, then 2/3."""
    truths = [truths_of([[0, 0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]], [0, 0])]
    found = [found_of([[0, 0, 0.2, 0.2], [0.3, 0.0, 0.4, 0.1], [0.5, 0.5, 0.9, 0.9]], [0.9, 0.8, 0.7], [0, 0, 0])]
    eleven, whole = voc_average_precision(truths, found, 2)
    assert whole == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert eleven == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_resampling_centres_on_the_figure_and_narrows_with_images():
    right, wrong = [[0, 0, 0.5, 0.5]], [[0.6, 0.6, 0.9, 0.9]]
    truths = [truths_of(right, [0])] * 40
    found = [found_of(right if k % 2 else wrong, [0.9 if k % 2 else 0.1], [0]) for k in range(40)]
    few, _ = resampled(truths[:10], found[:10], 1)
    many, halves = resampled(truths, found, 1)
    assert np.array_equal(many, halves)
    assert abs(many.mean() - average_precision(truths, found, 1).ap) < 0.05
    assert many.std() < few.std()


def test_nothing_found_and_nothing_to_find():
    assert average_precision([truths_of([[0, 0, 1, 1]], [0])], [NONE], 1).ap == 0
    assert average_precision([truths_of([], [])], [NONE], 1).ap is None
