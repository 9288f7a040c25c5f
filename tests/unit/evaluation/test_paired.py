"""Paired tests beside scipy and statsmodels, and by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from striate.errors import InputError
from striate.evaluation.group_figures import figures_by_group, fisher_p_value
from striate.evaluation.paired import accuracy_difference, holm, images_needed, mcnemar_p_value, mean_difference


@pytest.mark.parametrize("counts", [(0, 0), (5, 5), (1, 6), (6, 1), (0, 5), (40, 70), (900, 1000), (3, 4)])
def test_mcnemar_is_the_binomial_test(counts):
    expected = binomtest(counts[0], sum(counts), 0.5).pvalue if sum(counts) else 1.0
    assert mcnemar_p_value(*counts) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand():
    """Five disagreements, all for the second: 2 / 2^5."""
    assert mcnemar_p_value(0, 5) == pytest.approx(2 / 32)
    with pytest.raises(InputError, match="at least 0 but are -1 and 2"):
        mcnemar_p_value(-1, 2)


def test_bootstrap_of_counts_is_that_of_images(seed):
    """The interval from multinomial counts beside one from images drawn with replacement, and beside the normal
    approximation.
    """
    difference, (low, high) = accuracy_difference(30, 60, 1000, seed=seed)
    assert difference == pytest.approx(0.03)
    values = np.repeat([-1.0, 1.0, 0.0], [30, 60, 910])
    mean, (other_low, other_high) = mean_difference(values, seed=seed)
    assert mean == pytest.approx(0.03)
    spread = np.sqrt((0.09 - 0.03**2) / 1000)
    for found, expected in ((low, 0.03 - 1.96 * spread), (high, 0.03 + 1.96 * spread)):
        assert found == pytest.approx(expected, abs=0.002)
    assert (other_low, other_high) == (pytest.approx(low, abs=0.002), pytest.approx(high, abs=0.002))
    with pytest.raises(InputError, match="do not fit 5 images"):
        accuracy_difference(4, 3, 5)


def test_bootstrap_intervals_hold_what_they_promise(seed):
    """Of 300 pairs of models with a true difference of 2 points, about 95 % of the intervals hold it."""
    draw = np.random.default_rng(seed)
    hits = 0
    for trial in range(300):
        only_first, only_second, _ = draw.multinomial(500, (0.04, 0.06, 0.9))
        low, high = accuracy_difference(only_first, only_second, 500, seed=trial)[1]
        hits += low <= 0.02 <= high
    assert 0.91 <= hits / 300 <= 0.985


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_images_needed_shrinks_with_the_difference():
    few, many = images_needed(10, 40, 1000), images_needed(10, 20, 1000)
    assert few < many
    assert images_needed(5, 5, 1000) is None
    # by hand: d = .03, p = .05: (1.959964 sqrt(.05) + .841621 sqrt(.05 - .0009))^2 / .0009
    assert few == int(np.ceil((1.959964 * 0.05**0.5 + 0.841621 * 0.0491**0.5) ** 2 / 0.0009))


@pytest.mark.parametrize("case", [(3, 10, 60, 80), (10, 10, 60, 80), (0, 5, 75, 80), (20, 40, 30, 80)])
def test_fisher_is_scipys(case):
    own_right, own, all_right, total = case
    table = [[own_right, own - own_right], [all_right - own_right, total - own - all_right + own_right]]
    assert fisher_p_value(*case) == pytest.approx(fisher_exact(table, alternative="less").pvalue, rel=1e-9)


def test_the_worst_group_comes_first_and_chance_is_told_from_harm():
    numbers = np.repeat([0, 1, 2], [100, 100, 4])
    correct = np.concatenate([np.arange(100) < 95, np.arange(100) < 70, np.arange(4) < 2])
    rows = figures_by_group(correct, ("day", "night", "fog"), numbers)
    assert [row.name for row in rows] == ["fog", "night", "day"]
    assert [row.is_worse for row in rows] == [False, True, False], "two of four say nothing"
    assert rows[1].accuracy == 0.7
    assert figures_by_group(correct[:100], ("day", "night"), numbers[:100])[0].p_value == 1.0
