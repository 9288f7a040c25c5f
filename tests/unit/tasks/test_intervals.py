"""Wilson's interval on paper; tests/oracle holds it against scipy."""

import pytest

from striate.errors import InputError
from striate.tasks.intervals import wilson_interval


def test_nothing_right_and_everything_right() -> None:
    z_squared = 1.959964**2
    assert wilson_interval(0, 10) == (0.0, pytest.approx(z_squared / (10 + z_squared)))
    assert wilson_interval(10, 10) == (pytest.approx(10 / (10 + z_squared)), 1.0)


def test_half_of_four() -> None:
    """By hand: centre 1/2; spread z * sqrt(1/16 + z^2/64) / (1 + z^2/4) with z^2 = 3.8415."""
    low, high = wilson_interval(2, 4)
    assert low == pytest.approx(0.1500, abs=5e-5)
    assert high == pytest.approx(0.8500, abs=5e-5)


def test_more_trials_are_surer() -> None:
    assert wilson_interval(900, 1000)[0] > wilson_interval(90, 100)[0] > wilson_interval(9, 10)[0]
    assert wilson_interval(90, 100, confidence=0.5)[0] > wilson_interval(90, 100, confidence=0.99)[0]


@pytest.mark.parametrize(("num_hits", "num_trials"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_counts(num_hits: int, num_trials: int) -> None:
    with pytest.raises(InputError, match=f"needs 0 <= hits <= trials and a trial, but got {num_hits} of {num_trials}"):
        wilson_interval(num_hits, num_trials)


def test_impossible_confidence() -> None:
    with pytest.raises(InputError, match="confidence must lie between 0 and 1 but is 95"):
        wilson_interval(1, 2, confidence=95)
