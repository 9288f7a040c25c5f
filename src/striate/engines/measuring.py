"""Measurement of engines: speed, memory and agreement with the float32 PyTorch reference, on real images in bounded
time.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from striate.engines.choosing import FEWEST_OWN_IMAGES
from striate.engines.engine import REFERENCE, Engine, EngineKind
from striate.engines.low_margin import LowMarginRecompute, safe_gap, unlike_images
from striate.engines.measurement import Agreement, Row, Timing
from striate.engines.samples import Samples
from striate.errors import InputError, StriateError
from striate.progress import Log, Track, log_nothing, track_silently
from striate.tasks.predictions import ForwardFn
from striate.tasks.task import Task

Open = Callable[[EngineKind, int], Engine]
"""Gives the engine of a kind, ready for batches of a size; StriateError where it cannot."""
Memory = Callable[[], int | None]
"""A function that gives the bytes in use where engines compute; None where unknown."""
WARM_UP_S = 0.3
"""Fresh threads may share a processor for a while, and caches are cold."""
CALIBRATING, HELD_OUT = slice(0, None, 2), slice(1, None, 2)
"""Which images settle what an engine needs to know beforehand (a gap, ranges of int8), and which it is tested on."""
REFERENCE_SHARE, COMPARING_SHARE = 0.4, 0.05
"""Fractions of the budget for the reference's predictions and for each float32 engine's, beyond FEWEST_IMAGES: a large
network needs seconds for ten images, and probabilities within 0.0001 of the reference's show on few whether the
arithmetic is the same.
"""
FEWEST_IMAGES = 64
SLOW_NETWORK_S = 300.0
"""Time limit of `striate bench` on a slow network, enough to evaluate 16-bit engines, unless --budget is given."""
_CHUNK, _TRIED = 32, 8
_COMPILING_S = 25.0
"""Expected seconds of a compilation, before the first was seen."""


@dataclass(frozen=True)
class Plan:
    """Thoroughness of the measurement: at each size one batch, and more up to `repeats` until they have taken `batch_s`
    seconds.

    After `budget_s` seconds nothing new is begun. With a `longest_s` above it, a network so slow that this is too short
    to judge engines in 16 bits gets as much as that takes, if it is no more than `longest_s`.
    """

    batch_sizes: tuple[int, ...] = (1, 8, 32)
    repeats: int = 15
    batch_s: float = 1.5
    budget_s: float = 90.0
    longest_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.batch_sizes or not all(1 <= size <= 4096 for size in self.batch_sizes):
            raise InputError(f"batch sizes must lie in [1, 4096] but are {self.batch_sizes}")
        if self.repeats < 1 or self.budget_s <= 0:
            raise InputError(f"repeats and budget must be above 0 but are {self.repeats} and {self.budget_s}")


def measure(
    kinds: Sequence[EngineKind],
    open_kind: Open,
    samples: Samples,
    plan: Plan,
    *,
    why_not: Callable[[EngineKind], str | None] | None = None,
    memory: Memory | None = None,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> list[Row]:
    """A row for each kind, in their order, the reference's first. Whatever fails becomes a row with its reason.

    `why_not` says of a kind why it is not to be tried; `memory` how many bytes are held, this process's on the CPU
    without it. The reference must be among the kinds. Where it is slow, all are compared on fewer of the samples,
    evenly spread: the agreement of its row says on how many.
    """
    memory = memory or resident_bytes
    started = time.perf_counter()
    slow = open_kind(REFERENCE, max(plan.batch_sizes))
    plan = _stretched(plan, [kind for kind in kinds if why_not is None or not why_not(kind)], slow.run, samples, log)
    places, reference = _answers(slow.run, samples.pixels, REFERENCE_SHARE * plan.budget_s)
    is_cut = len(places) < len(samples.pixels)
    if is_cut:
        log(
            f"comparing on {len(places)} of {len(samples.pixels)} images, as many as the reference answered in its "
            f"part of {plan.budget_s:.0f} s; --budget gives more"
        )
    samples = samples.at(places) if is_cut else samples
    rows: list[Row] = []
    for kind in track(kinds, "measuring engines", len(kinds)):
        left_s = plan.budget_s - (time.perf_counter() - started)
        reason = why_not(kind) if why_not else None
        if reason is None and is_cut and len(places) < _num_needed(kind):
            reason = f"skipped, as it needs {_num_needed(kind)} answers of the reference; give more time with --budget"
        if reason is None and kind != REFERENCE and left_s < _expected_s(kind, rows):
            reason = f"skipped, as too little was left of {plan.budget_s:.0f} s; give more with --budget"
        rows.append(
            Row(kind, problem=reason) if reason else _measured(kind, open_kind, samples, reference, plan, memory)
        )
        gc.collect()  # an engine holds a copy of the weights: it goes before the next comes
    return rows


def _stretched(plan: Plan, kinds: Sequence[EngineKind], run: ForwardFn, samples: Samples, log: Log) -> Plan:
    """The plan with as much time as the reference needs for the images that 16-bit engines are compared on."""
    needs = {need for kind in kinds if 0 < (need := _num_needed(kind)) <= len(samples.pixels)}
    if plan.longest_s <= plan.budget_s or not samples.is_own or not needs:
        return plan
    image_s = time_batches(run, samples.pixels, _TRIED, replace(plan, repeats=1)).milliseconds / 1000 / _TRIED
    for need in sorted(needs, reverse=True):
        budget_s = 1.1 * (need + _CHUNK) * image_s / REFERENCE_SHARE
        if budget_s <= plan.budget_s:
            return plan
        if budget_s <= plan.longest_s:
            log(
                f"the reference takes {image_s:.2f} s an image here: the limit is {budget_s:.0f} s instead of "
                f"{plan.budget_s:.0f}, so that 16 bits can be tested; --budget sets another"
            )
            return replace(plan, budget_s=budget_s)
    return plan


def agreement(answers: np.ndarray, reference: np.ndarray, task: Task, *, is_own: bool) -> Agreement:
    """How two arrays (N, D) of values compare: on how many images they say the same, and how far apart any value is."""
    equal = task.same_answers(answers, reference)
    difference = np.abs(answers.astype(np.float64) - reference)
    worst = float(difference.max()) if np.isfinite(difference).all() else float("inf")
    if not np.isfinite(worst):
        raise InputError("answers NaN where the reference may not; it cannot be used for this model")
    return Agreement(len(reference), int(equal.sum()), worst, is_own)


def time_batches(run: ForwardFn, pixels: np.ndarray, batch_size: int, plan: Plan, *, use_mean: bool = False) -> Timing:
    """The median time of a batch after a warm-up, over batches of different images; or the mean, where what an image
    costs depends on the image.
    """
    batches = batches_of(pixels, batch_size)
    _warm_up(run, batches)
    seconds: list[float] = []
    while not seconds or (len(seconds) < plan.repeats and sum(seconds) < plan.batch_s):
        batch = batches[len(seconds) % len(batches)]
        began = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - began)
    middle = statistics.fmean(seconds) if use_mean else statistics.median(seconds)
    return Timing(batch_size, 1000 * middle, len(seconds))


def resident_bytes() -> int | None:
    """Resident memory of this process in bytes; None where /proc does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    import resource

    return pages * resource.getpagesize()


def _measured(
    kind: EngineKind, open_kind: Open, samples: Samples, reference: np.ndarray, plan: Plan, memory: Memory
) -> Row:
    try:
        if kind.is_for_one_batch_size:
            return _measure_compiled(kind, open_kind, samples, reference, plan, memory)
        if kind.precision == "near-ties":
            return _measure_low_margin(kind, open_kind, samples, reference, plan, memory)
        row, engine = _opened(kind, open_kind, max(plan.batch_sizes))
        part = HELD_OUT if kind.precision == "int8" else slice(None)  # its ranges were found on the others
        known = reference if kind == REFERENCE else None
        return _figures(row, engine.run, samples, reference, plan, memory, part, answers=known)
    except StriateError as error:
        return Row(kind, problem=str(error))
    except MemoryError:
        return Row(kind, problem="needs more memory than there is")
    except Exception as error:  # an engine's own failure is a line of the table, never the end of it
        text = " ".join(str(error).split())[:160]
        return Row(kind, problem=f"failed with {type(error).__name__}: {text}")


def _opened(kind: EngineKind, open_kind: Open, batch_size: int) -> tuple[Row, Engine]:
    began = time.perf_counter()
    engine = open_kind(kind, batch_size)
    return Row(kind, open_s=time.perf_counter() - began), engine


def _figures(
    row: Row,
    run: ForwardFn,
    samples: Samples,
    reference: np.ndarray,
    plan: Plan,
    memory: Memory,
    part: slice,
    *,
    answers: np.ndarray | None = None,
) -> Row:
    """Timings, agreement on this part of the samples, and accuracy on the held-out ones, where labels are known.

    `answers` are the engine's to that part, where they are known already.
    """
    before = memory()
    compared = np.arange(len(reference))[part]
    if answers is None:
        limit_s = COMPARING_SHARE * plan.budget_s if row.kind.precision == "float32" else math.inf
        places, answers = _answers(run, samples.pixels[part], limit_s)
        compared = compared[places]
    is_near_ties = row.kind.precision == "near-ties"
    timings = [time_batches(run, samples.pixels[part], size, plan, use_mean=is_near_ties) for size in plan.batch_sizes]
    after = memory()
    return replace(
        row,
        timings=tuple(timings),
        memory_bytes=None if before is None or after is None else max(0, after - before),
        agreement=agreement(answers, reference[compared], samples.task, is_own=samples.is_own),
        accuracy=_accuracy(answers, compared, samples),
    )


def _measure_low_margin(
    kind: EngineKind, open_kind: Open, samples: Samples, reference: np.ndarray, plan: Plan, memory: Memory
) -> Row:
    """Every second image settles the gap, with as many as a quarter of them unlike any; it is tested on the others."""
    quick_row, quick = _opened(replace(kind, precision="bfloat16"), open_kind, max(plan.batch_sizes))
    slow_row, slow = _opened(replace(kind, precision="float32"), open_kind, max(plan.batch_sizes))
    own = samples.pixels[CALIBRATING]
    unlike = unlike_images(own, max(1, len(own) // 4))
    answers = [np.concatenate([_answers(quick.run, part, math.inf)[1] for part in (own, unlike)])]
    answers.append(np.concatenate([reference[CALIBRATING], _answers(slow.run, unlike, math.inf)[1]]))
    gap = safe_gap(*answers)
    opened = Row(kind, open_s=(quick_row.open_s or 0.0) + (slow_row.open_s or 0.0), gap=gap)
    return _figures(opened, LowMarginRecompute(quick.run, slow.run, gap), samples, reference, plan, memory, HELD_OUT)


def _measure_compiled(
    kind: EngineKind, open_kind: Open, samples: Samples, reference: np.ndarray, plan: Plan, memory: Memory
) -> Row:
    """Compiled anew for each batch size, the largest first, as long as the time suffices."""
    began = time.perf_counter()
    row, largest = _opened(kind, open_kind, max(plan.batch_sizes))
    once = replace(plan, batch_sizes=(max(plan.batch_sizes),))
    row = _figures(row, largest.run, samples, reference, once, memory, slice(None))
    timings = list(row.timings)
    for size in sorted(set(plan.batch_sizes) - {max(plan.batch_sizes)}):
        if time.perf_counter() - began + (row.open_s or 0.0) > plan.budget_s:
            break
        timings.append(time_batches(open_kind(kind, size).run, samples.pixels, size, plan))
    return replace(row, timings=tuple(sorted(timings, key=lambda each: each.batch_size)))


def _expected_s(kind: EngineKind, rows: Iterable[Row]) -> float:
    """Expected seconds of compilation; 0 for engines that need none."""
    if not kind.is_for_one_batch_size:
        return 0.0
    return max((row.open_s or 0.0 for row in rows if row.kind.is_for_one_batch_size), default=0.0) or _COMPILING_S


def _num_needed(kind: EngineKind) -> int:
    """Number of images an engine must be compared on before "auto" may use it."""
    if kind.precision == "near-ties":
        return 2 * FEWEST_OWN_IMAGES
    return FEWEST_OWN_IMAGES if kind.precision in ("bfloat16", "float16") else 0


def _accuracy(answers: np.ndarray, compared: np.ndarray, samples: Samples) -> float | None:
    """The fraction of the held-out images whose prediction is correct; None where not all of them were answered."""
    held_out = np.arange(len(samples.pixels))[HELD_OUT]
    if samples.labels is None or not len(held_out) or not np.isin(held_out, compared).all():
        return None
    are_held_out = np.isin(compared, held_out)
    correct = samples.task.correct(answers[are_held_out], samples.labels[compared[are_held_out]])
    return None if correct is None else float(correct.mean())


def _answers(run: ForwardFn, pixels: np.ndarray, limit_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, K) of all images, some at a time, or of those, evenly spread, to which the time suffices; and
    before them their places, in order. FEWEST_IMAGES are always answered. Images go by pairs, so that whoever is
    CALIBRATING or HELD_OUT among all is so among these.
    """
    pairs = 2 * np.random.default_rng(0).permutation(len(pixels) // 2)
    order = np.concatenate([np.stack([pairs, pairs + 1], axis=1).ravel(), np.arange(len(pixels) // 2 * 2, len(pixels))])
    chunks = [np.sort(order[start : start + _CHUNK]) for start in range(0, len(order), _CHUNK)]
    answers: list[np.ndarray] = []
    stop = time.perf_counter() + limit_s
    for number, chunk in enumerate(chunks):
        if number * _CHUNK >= FEWEST_IMAGES and time.perf_counter() > stop:
            break
        answers.append(run(pixels[chunk]))
    places = np.concatenate(chunks[: len(answers)])
    return np.sort(places), np.concatenate(answers)[np.argsort(places)]


def batches_of(pixels: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Batches of exactly this size, of different images, at most eight; images come again where there are too few."""
    num_batches = max(1, min(8 if batch_size > 1 else 32, len(pixels) // batch_size))
    order = np.arange(num_batches * batch_size) % len(pixels)
    return [np.ascontiguousarray(pixels[part]) for part in np.split(order, num_batches)]


def _warm_up(run: ForwardFn, batches: list[np.ndarray]) -> None:
    stop = time.perf_counter() + WARM_UP_S
    for number in range(100):
        run(batches[number % len(batches)])
        if time.perf_counter() > stop:
            return
