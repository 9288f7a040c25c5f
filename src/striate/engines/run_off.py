"""Time the fastest engines once more, taking turns: what else a machine does then slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from striate.engines.choosing import eligible
from striate.engines.engine import Engine
from striate.engines.measurement import Row, Timing
from striate.engines.measuring import Plan, batches_of
from striate.engines.samples import Samples
from striate.tasks.predictions import ForwardFn

CLOSE = 1.4
"""Engines that took up to so many times as long as the fastest are timed once more."""
MOST_CONTENDERS = 4
OpenRow = Callable[[Row, int], Engine]


def run_off(rows: Sequence[Row], open_row: OpenRow, samples: Samples, plan: Plan) -> list[Row]:
    """The rows with new timings for those that are close to the fastest of the eligible ones, at each batch size.

    Compiled engines keep the timings they have, as compiling them again takes too long; so does everyone where only one
    is close. `open_row` makes the engine of a row ready for a batch size.
    """
    found = list(rows)
    for batch_size in plan.batch_sizes:
        places = contenders(found, batch_size)
        runs: dict[int, ForwardFn] = {}
        for place in places if len(places) > 1 else ():
            try:
                runs[place] = open_row(found[place], batch_size).run
                runs[place](batches_of(samples.pixels, batch_size)[0])
            except Exception as error:  # an engine's own failure is a line of the table, never the end of it
                runs.pop(place, None)
                text = " ".join(str(error).split())[:160]
                found[place] = replace(found[place], problem=f"failed when it was opened again: {text}")
        for place, seconds in _take_turns(runs, samples, batch_size, plan).items():
            found[place] = _with_timing(found[place], batch_size, seconds)
    return found


def contenders(rows: Sequence[Row], batch_size: int) -> list[int]:
    """The places of up to MOST_CONTENDERS eligible rows that are close to the fastest at this very batch size, that one
    first.
    """
    allowed = {id(row) for row in eligible(rows)}
    timed = []
    for place, row in enumerate(rows):
        timing = row.timing(batch_size)
        is_repeatable = id(row) in allowed and not row.kind.is_for_one_batch_size
        if is_repeatable and timing is not None and timing.batch_size == batch_size:
            timed.append((timing.milliseconds, place))
    timed.sort()
    return [place for milliseconds, place in timed[:MOST_CONTENDERS] if milliseconds <= CLOSE * timed[0][0]]


def _take_turns(runs: dict[int, ForwardFn], samples: Samples, batch_size: int, plan: Plan) -> dict[int, list[float]]:
    """Seconds of each one's batches: everyone once in a round, all on the same images."""
    batches = batches_of(samples.pixels, batch_size)
    times: dict[int, list[float]] = {place: [] for place in runs}
    stop = time.perf_counter() + plan.batch_s * len(runs)
    for number in range(plan.repeats):
        if number and time.perf_counter() > stop:
            break
        for place, run in runs.items():
            began = time.perf_counter()
            run(batches[number % len(batches)])
            times[place].append(time.perf_counter() - began)
    return times


def _with_timing(row: Row, batch_size: int, seconds: list[float]) -> Row:
    """The row with this timing in place of the one it has; the mean for low-margin predictions, whose cost depends on
    the image.
    """
    middle = statistics.fmean(seconds) if row.kind.precision == "near-ties" else statistics.median(seconds)
    new = Timing(batch_size, 1000 * middle, len(seconds))
    return replace(row, timings=tuple(new if each.batch_size == batch_size else each for each in row.timings))
