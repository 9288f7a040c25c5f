"""Two-sample tests: are two sets of rows, or two lists of classes, drawn from one distribution? n and m rows, D values.

Rows are compared by the maximum mean discrepancy under a Gaussian kernel as wide as the median distance (Gretton et al.
2012, JMLR 13:723-773, lemma 6), classes by Pearson's statistic. Both p-values are of permutations of the pooled rows,
(1 + how many reach the observed statistic) / (1 + how many are drawn), so that they hold for any sizes.
"""

from dataclasses import dataclass

import numpy as np

from striate.errors import InputError

NUM_PERMUTATIONS = 999
_TINY = 1e-12
_MEDIAN_ROWS = 1_000


@dataclass(frozen=True)
class TwoSampleTest:
    """A statistic, larger the more the samples differ, and the fraction of permutations that reach it."""

    statistic: float
    p_value: float


def discrepancy_test(
    first: np.ndarray, second: np.ndarray, *, num_permutations: int = NUM_PERMUTATIONS, seed: int = 0
) -> TwoSampleTest:
    """Compare rows (n, D) with rows (m, D) by the unbiased squared maximum mean discrepancy.

    Memory is that of a matrix (n + m, n + m) in float32. InputError for fewer than two rows on a side.
    """
    if min(len(first), len(second)) < 2:
        raise InputError(f"two samples need at least two images each but have {len(first)} and {len(second)}")
    kernel = _kernel(np.concatenate([first, second]).astype(np.float32), seed)
    count = len(first)
    observed = _discrepancies(kernel, np.arange(len(kernel))[None] < count)[0]
    draw = np.random.default_rng(seed)
    chosen = np.zeros((num_permutations, len(kernel)), bool)
    for row in chosen:
        row[draw.permutation(len(kernel))[:count]] = True
    reached = int((_discrepancies(kernel, chosen) >= observed - _TINY).sum())
    return TwoSampleTest(float(observed), (1 + reached) / (1 + num_permutations))


def classes_test(
    first: np.ndarray,
    second: np.ndarray,
    num_classes: int,
    *,
    num_permutations: int = NUM_PERMUTATIONS,
    seed: int = 0,
) -> TwoSampleTest:
    """Compare how often each of K classes is named, first (n,) and second (m,), by Pearson's chi-squared statistic."""
    pooled, count = np.concatenate([first, second]), len(first)
    total = np.bincount(pooled, minlength=num_classes).astype(float)
    expected = total * count / len(pooled)
    present = total > 0

    def statistic(own: np.ndarray) -> float:
        off = np.bincount(own, minlength=num_classes)[present] - expected[present]
        return float((off**2 * (1 / expected[present] + 1 / (total - expected)[present])).sum())

    observed = statistic(pooled[:count])
    draw = np.random.default_rng(seed)
    reached = sum(
        statistic(pooled[draw.permutation(len(pooled))[:count]]) >= observed - 1e-9 for _ in range(num_permutations)
    )
    return TwoSampleTest(observed, (1 + reached) / (1 + num_permutations))


def _kernel(rows: np.ndarray, seed: int) -> np.ndarray:
    """exp(-d^2 / median d^2) between all rows, the diagonal 0."""
    squares = _squared_distances(rows, rows)
    few = np.random.default_rng(seed).permutation(len(rows))[:_MEDIAN_ROWS]
    sample = squares[np.ix_(few, few)][np.triu_indices(len(few), 1)]
    kernel: np.ndarray = np.exp(-squares / max(float(np.median(sample)), _TINY))
    np.fill_diagonal(kernel, 0)
    return kernel


def _squared_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.maximum(squares, 0)


def _discrepancies(kernel: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The unbiased squared discrepancy for each choice of the first sample among all rows, chosen (P, n + m) bool."""
    sides = chosen.astype(np.float32)
    count = int(chosen[0].sum())
    other = len(kernel) - count
    within = ((sides @ kernel) * sides).sum(axis=1)
    rows = (sides @ kernel.sum(axis=1, dtype=np.float32)[:, None])[:, 0]  # of the chosen with all
    across = rows - within
    rest = kernel.sum(dtype=np.float64) - within - 2 * across
    result: np.ndarray = within / (count * (count - 1)) + rest / (other * (other - 1)) - 2 * across / (count * other)
    return result
