"""Rows of units and the intervals of pixels that they see, along one axis of the image.

Units stand in an endless `Line`, as if the image and every map went on for ever, so that receptive fields are the
theoretical ones that papers print.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd, lcm

FAR = 1 << 40
BLIND = (FAR, -FAR)
"""The interval of a unit that sees no pixel, neutral when intervals are joined."""


class UnknownField(Exception):
    """The receptive field of an operator is unknown; the text says why and continues from the operator's name."""


@dataclass(frozen=True)
class Taps:
    """Unit `q * len(taps) + r` of a row looks at the units `q * advance + t` of the row before it, for t in
    `taps[r]`.
    """

    taps: tuple[tuple[int, ...], ...]
    advance: int

    def of(self, unit: int) -> list[int]:
        """The units of the row before it that `unit` looks at."""
        turn, phase = divmod(unit, len(self.taps))
        return [turn * self.advance + tap for tap in self.taps[phase]]


@dataclass(frozen=True)
class Interval:
    """An endless row of units.

    Unit `q * P + r`, P being the period `len(lows)`, sees the pixels from `lows[r] + q * shift` up to below
    `highs[r] + q * shift`.
    """

    lows: tuple[int, ...]
    highs: tuple[int, ...]
    shift: int

    def see(self, unit: int) -> tuple[int, int]:
        """The interval of pixels that a unit sees."""
        turn, phase = divmod(unit, len(self.lows))
        return _moved((self.lows[phase], self.highs[phase]), turn * self.shift)

    def through(self, taps: Taps) -> "Interval":
        """The row of units that look at units of this one."""
        period = len(self.lows)
        num_turns = period // gcd(period, abs(taps.advance)) if taps.advance else 1
        seen = [hull(map(self.see, taps.of(unit))) for unit in range(len(taps.taps) * num_turns)]
        return shortest_interval(seen, self.shift * taps.advance * num_turns // period)

    def every(self, step: int, start: int = 0) -> "Interval":
        """The row of this one's units `start + step * i`."""
        return self if (step, start) == (1, 0) else self.through(Taps(((start,),), step))

    def joined(self, other: "Interval") -> "Interval | None":
        """The row whose units see what those of both see, None where the two run apart."""
        if self == other:
            return self
        if self.shift * len(other.lows) != other.shift * len(self.lows):
            return None
        period = lcm(len(self.lows), len(other.lows))
        seen = [hull((self.see(unit), other.see(unit))) for unit in range(period)]
        return shortest_interval(seen, self.shift * period // len(self.lows))


def fixed_interval(low: int, high: int) -> Interval:
    """The row whose units all see the same."""
    return Interval((low,), (high,), 0)


def shortest_interval(seen: Sequence[tuple[int, int]], shift: int) -> Interval:
    """The line that repeats these intervals, moved by `shift` each time, with the shortest period."""
    num_units = len(seen)
    for period in range(1, num_units + 1):
        if num_units % period or shift * period % num_units:
            continue
        step = shift * period // num_units
        if all(_moved(before, step) == after for before, after in zip(seen, seen[period:], strict=False)):
            lows, highs = zip(*seen[:period], strict=True)
            return Interval(lows, highs, step)
    raise AssertionError("the whole row is always a period")


def hull(intervals: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The interval from the first pixel to the last that any of them has."""
    low, high = BLIND
    for other_low, other_high in intervals:
        low, high = min(low, other_low), max(high, other_high)
    return low, high


def _moved(interval: tuple[int, int], by: int) -> tuple[int, int]:
    return interval if interval == BLIND else (interval[0] + by, interval[1] + by)
