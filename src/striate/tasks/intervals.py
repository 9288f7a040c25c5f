"""Confidence intervals of fractions."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import stdtrit

from striate.errors import InputError
from striate.units import percent, percent_range


@dataclass(frozen=True)
class Fraction:
    """A fraction of the images, or another mean that lies in [0, 1], and its 95 % interval."""

    value: float
    interval: tuple[float, float]

    def words(self) -> str:
        """As a person reads it: "93.12 %  (95 % interval 91.00 to 95.02 %)"."""
        low, high = self.interval
        return f"{percent(self.value)}  (95 % interval {percent_range(low, high)})"


def fraction_of(num_hits: int, num_trials: int) -> Fraction:
    """So many of so many, with Wilson's interval."""
    return Fraction(num_hits / num_trials, wilson_interval(num_hits, num_trials))


def wilson_interval(num_hits: int, num_trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval (low, high), within [0, 1], for the true share behind `num_hits` of `num_trials`.

    Wilson's score interval (Wilson 1927, JASA 22:209-212): unlike "plus or minus two standard errors" it holds near 0
    and 1 and for a handful of trials (Brown, Cai & DasGupta 2001, Statistical Science 16:101-133). It takes the trials
    as independent draws of what will come later, and knows nothing of a test set that differs from that.
    """
    if not 0 <= num_hits <= num_trials or num_trials == 0:
        raise InputError(f"an interval needs 0 <= hits <= trials and a trial, but got {num_hits} of {num_trials}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1 but is {confidence:g}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = num_hits / num_trials
    shrink = 1 + z * z / num_trials
    centre = (share + z * z / (2 * num_trials)) / shrink
    spread = z * math.sqrt(share * (1 - share) / num_trials + z * z / (4 * num_trials**2)) / shrink
    # the bounds are exactly 0 and 1 at the ends; rounding must not say otherwise
    low = 0.0 if num_hits == 0 else max(0.0, centre - spread)
    high = 1.0 if num_hits == num_trials else min(1.0, centre + spread)
    return low, high


def mean_of(values: np.ndarray, *, confidence: float = 0.95) -> Fraction:
    """The mean of numbers in [0, 1], (n,), and Student's interval for the mean they were drawn from, cut to [0, 1].

    Of a single number nothing is known: its interval is all of [0, 1].
    """
    if len(values) == 0:
        raise InputError("a mean needs at least one number but got none")
    mean = float(values.mean())
    if len(values) == 1:
        return Fraction(mean, (0.0, 1.0))
    reach = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Fraction(mean, (max(0.0, mean - reach), min(1.0, mean + reach)))
