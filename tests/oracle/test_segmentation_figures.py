"""Figures and losses of segmentation against scikit-learn and torch, computed independently."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score

from striate.data.masks import IGNORED
from striate.tasks.segmentation.figures import SegmentationAccumulator
from striate.tasks.segmentation.loss import SegmentationLoss


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(1, 5), st.floats(0, 0.9))
def test_iou_and_accuracy_are_scikit_learns(seed, num_classes, num_images, ignored):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, num_classes, (num_images, 9, 11)).astype(np.uint8)
    true[rng.random(true.shape) < ignored] = IGNORED
    true[0, 0, 0] = 0
    predicted = np.where(
        rng.random(true.shape) < 0.6, np.minimum(true, num_classes - 1), rng.integers(0, num_classes, true.shape)
    )
    names = tuple(map(str, range(num_classes)))
    accumulator = SegmentationAccumulator(names)
    logits = torch.nn.functional.one_hot(torch.from_numpy(predicted).long(), num_classes).permute(0, 3, 1, 2).float()
    accumulator.update(logits, torch.from_numpy(true))
    found = accumulator.result(np.arange(num_images))
    counted = true != IGNORED
    y_true, y_predicted = true[counted], predicted[counted]
    present = np.union1d(y_true, y_predicted)
    ious = jaccard_score(y_true, y_predicted, labels=present, average=None, zero_division=0)
    assert [found.per_class[k].iou for k in present] == pytest.approx(ious.tolist())
    assert found.mean_iou.value == pytest.approx(ious.mean())
    assert found.pixels.value == pytest.approx(accuracy_score(y_true, y_predicted))
    if set(y_predicted) <= set(y_true):  # elsewhere it warns
        assert found.mean_class_accuracy == pytest.approx(balanced_accuracy_score(y_true, y_predicted))


def test_weighted_cross_entropy_is_torchs_mean():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 8, 8, generator=generator)
    targets = torch.randint(0, 4, (3, 8, 8), generator=generator)
    targets[0, :4] = IGNORED
    weights = torch.tensor([1.0, 0.2, 3.0, 7.0])
    expected = torch.nn.functional.cross_entropy(logits, targets, weight=weights, ignore_index=IGNORED)
    assert SegmentationLoss(4, class_weights=weights)(logits, targets.to(torch.uint8)).item() == pytest.approx(
        expected.item(), rel=1e-6
    )
