"""Two-sample tests by hand, against all permutations and scikit-learn's kernel, and how often they err."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics.pairwise import rbf_kernel

from striate.errors import InputError
from striate.evaluation.two_sample import classes_test, discrepancy_test


def discrepancy(first, second, gamma):
    """Lemma 6 of Gretton et al. as written."""
    n, m = len(first), len(second)
    own, other = rbf_kernel(first, gamma=gamma), rbf_kernel(second, gamma=gamma)
    return (
        (own.sum() - np.trace(own)) / (n * (n - 1))
        + (other.sum() - np.trace(other)) / (m * (m - 1))
        - 2 * rbf_kernel(first, second, gamma=gamma).mean()
    )


def test_the_statistic_is_the_papers_and_the_p_value_that_of_all_permutations():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=(4, 3)), draw.normal(size=(5, 3)) + 0.8
    pooled = np.concatenate([first, second])
    squares = ((pooled[:, None] - pooled) ** 2).sum(axis=2)[np.triu_indices(9, 1)]
    gamma = 1 / np.median(squares)
    found = discrepancy_test(first, second, num_permutations=4_000)
    expected = discrepancy(first, second, gamma)
    assert found.statistic == pytest.approx(expected, abs=1e-5)
    values = []
    for chosen in combinations(range(9), 4):
        rest = [row for row in range(9) if row not in chosen]
        values.append(discrepancy(pooled[list(chosen)], pooled[rest], gamma))
    exact = np.mean(np.array(values) >= expected - 1e-6)
    assert found.p_value == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4_000))


def test_alike_and_unlike():
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(120, 8))
    assert discrepancy_test(rows[:60], rows[60:] + 1.0).p_value < 0.01
    spread = discrepancy_test(rows[:60], 2 * rows[60:])
    assert spread.p_value < 0.01, "a change of spread alone is seen too"
    p_values = []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        alike = discrepancy_test(draw.normal(size=(30, 4)), draw.normal(size=(20, 4)), num_permutations=99, seed=seed)
        p_values.append(alike.p_value)
    assert np.mean(np.array(p_values) <= 0.1) < 0.25  # 0.1 is right; 60 draws have a standard error of 0.04
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.15)


def test_classes_as_scipy_has_them():
    draw = np.random.default_rng(2)
    first, second = draw.integers(0, 3, 80), draw.choice(4, 60, p=(0.5, 0.2, 0.3, 0.0))
    found = classes_test(first, second, 5)
    table = np.stack([np.bincount(each, minlength=3) for each in (first, second)])
    expected = chi2_contingency(table, correction=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.05)
    assert classes_test(np.zeros(30, int), np.ones(30, int), 2).p_value == 1 / 1_000


def test_too_few():
    with pytest.raises(InputError, match="at least two images each but have 1 and 3"):
        discrepancy_test(np.zeros((1, 2)), np.zeros((3, 2)))
