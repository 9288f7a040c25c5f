"""Risk-coverage by hand, and thresholds that keep what they promise."""

import numpy as np
import pytest
from scipy.stats import binomtest

from striate.errors import InputError
from striate.tasks.classification.selective import risk_coverage, selective, threshold_for, upper_bound


def test_curve_and_area_by_hand():
    """Right, wrong, right, right from the most certain on: risks 0, 1/2, 1/3, 1/4. The best order has 0, 0, 0, 1/4."""
    confidences = np.array([0.6, 0.9, 0.7, 0.8])
    correct = np.array([True, True, True, False])
    coverage, risk, levels = risk_coverage(confidences, correct)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert levels.tolist() == [0.9, 0.8, 0.7, 0.6]
    found = selective(confidences, correct)
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert found.least_area == pytest.approx(1 / 16)
    assert found.curve[-1] == pytest.approx((1, 0.25, 0.6))


def test_equally_confident_images_go_together():
    """Whatever their order: half of them wrong is a risk of a half at every coverage."""
    for correct in ([True, False, True, False], [False, False, True, True]):
        found = selective(np.full(4, 0.9), np.array(correct))
        assert found.curve == ((1.0, 0.5, 0.9),)
        assert found.area == pytest.approx(0.5)


def test_no_mistakes_and_only_mistakes():
    assert selective(np.array([0.5, 0.6]), np.array([True, True])).area == 0
    nothing = selective(np.array([0.5, 0.6]), np.array([False, False]))
    assert nothing.area == 1
    assert all(each.confidence is None for each in nothing.thresholds)


@pytest.mark.parametrize(("wrong", "count"), [(0, 10), (3, 50), (10, 10), (7, 9)])
def test_bound_is_clopper_and_pearsons(wrong, count):
    expected = binomtest(wrong, count).proportion_ci(confidence_level=0.9, method="exact").high
    assert upper_bound(wrong, count, 0.05) == pytest.approx(expected)


def test_thresholds_keep_their_promise(seed):
    """Confidence c is right with probability c. Of 200 calibrations at most about 5 % may err by more than is allowed
    on all images.
    """
    draw = np.random.default_rng(seed)
    broken = given = 0
    for _ in range(200):
        confidences = draw.uniform(0.5, 1, 1000)
        threshold = threshold_for(confidences, draw.random(1000) < confidences, 0.1)
        if threshold.confidence is not None:
            given += 1
            broken += 1 - (1 + threshold.confidence) / 2 > 0.1  # the true error above the threshold
            assert threshold.error <= 0.1
    assert given > 150
    assert broken / given <= 0.06


def test_an_impossible_rate_is_refused():
    with pytest.raises(InputError, match="between 0 and 1 but is 1"):
        threshold_for(np.ones(3), np.ones(3, bool), 1.0)
