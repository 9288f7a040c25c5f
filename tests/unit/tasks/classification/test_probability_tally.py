"""Brier score and calibration errors of all probabilities: by hand, beside scikit-learn, and in any batches."""

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss

from striate.tasks.classification.metrics import Answers, adaptive_calibration_error
from striate.tasks.classification.probability_tally import ProbabilityTally
from striate.tasks.classification.task import Classification


def tally_of(probabilities, labels, batch=None):
    tally = ProbabilityTally()
    logits, labels = torch.tensor(np.log(probabilities)), torch.tensor(labels)
    for start in range(0, len(labels), batch or len(labels)):
        tally.update(logits[start : start + (batch or len(labels))], labels[start : start + (batch or len(labels))])
    return tally


def test_by_hand():
    """Two images. Brier: (.2^2 + .2^2 + .6^2 + .6^2) / 2. Class 0 is said .8 and .6, is right once: gaps |.8 - 1| and
    |.6 - 0| over 2.
    """
    tally = tally_of([[0.8, 0.2], [0.6, 0.4]], [0, 1])
    assert tally.brier_score() == pytest.approx((0.08 + 0.72) / 2)
    assert tally.classwise_error() == pytest.approx((0.2 + 0.6) / 2)


def test_brier_is_scikit_learns_and_batches_do_not_matter(seed):
    draw = np.random.default_rng(seed)
    probabilities, labels = draw.dirichlet(np.ones(5), 300), draw.integers(0, 5, 300)
    tally = tally_of(probabilities, labels, batch=37)
    expected = brier_score_loss(labels, probabilities, labels=list(range(5)), scale_by_half=False)
    assert tally.brier_score() == pytest.approx(expected, rel=1e-5)
    assert tally.classwise_error() == pytest.approx(tally_of(probabilities, labels).classwise_error(), rel=1e-4)


def test_classwise_error_is_the_reference_loop(seed):
    draw = np.random.default_rng(seed)
    probabilities, labels = draw.dirichlet(np.ones(4), 500), draw.integers(0, 4, 500)
    errors = []
    for k in range(4):
        own, total = probabilities[:, k], 0.0
        for low in np.arange(15) / 15:
            inside = (own > low) & (own <= low + 1 / 15)
            if inside.any():
                total += inside.sum() / 500 * abs(own[inside].mean() - (labels[inside] == k).mean())
        errors.append(total)
    assert tally_of(probabilities, labels).classwise_error() == pytest.approx(np.mean(errors), rel=1e-4)


def test_adaptive_bins_hold_equally_many(seed):
    """Thirty images, two a bin: the error is the mean over bins of |mean confidence - accuracy|."""
    draw = np.random.default_rng(seed)
    confidences, ranks = draw.uniform(0.3, 1, 30), draw.integers(0, 2, 30)
    answers = Answers(np.zeros(30, int), ranks, ranks, np.ones(30), confidences)
    order = np.argsort(confidences)
    pairs = [order[k : k + 2] for k in range(0, 30, 2)]
    expected = np.mean([abs(confidences[pair].mean() - (ranks[pair] == 0).mean()) for pair in pairs])
    assert adaptive_calibration_error(answers) == pytest.approx(expected)
    few = Answers(*(each[:3] for each in (np.zeros(30, int), ranks, ranks, np.ones(30), confidences)))
    assert adaptive_calibration_error(few) == pytest.approx(np.abs(confidences[:3] - (ranks[:3] == 0)).mean())


def test_an_evaluation_has_them_and_one_merged_from_processes_does_not():
    task = Classification(("a", "b", "c"))
    one = task.accumulator()
    one.update(torch.randn(8, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]))
    whole = one.result(np.arange(8)).to_json()
    assert whole["brier_score"] > 0
    assert whole["classwise_calibration_error"] > 0
    assert len(whole["selective"]["thresholds"]) == 4
    merged = task.accumulator().merged([one.arrays()], np.arange(8)).result(np.arange(8)).to_json()
    assert merged["brier_score"] is None
    assert merged["adaptive_calibration_error"] == whole["adaptive_calibration_error"]
