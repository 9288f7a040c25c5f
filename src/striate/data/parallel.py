"""Many small jobs in threads, in order and in bounded memory; decoding and hashing release Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")

_SPAN = 16  # items handed out at a time: handing out costs more than a small job


def num_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(job: Callable[[S], T], items: Sequence[S], *, num_workers: int | None = None) -> Iterator[T]:
    """`job` of every item, in order, run in `num_workers` threads (as many as processors when None) ahead of the
    caller.

    Not more than a few dozen results a thread wait for the caller. What a job raises is raised in its turn, or up to
    15 items earlier. Leaving early cancels what has not begun and waits for what has.
    """
    num_workers = num_workers or num_processors()
    waiting: deque[Future[list[T]]] = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            for start in range(0, len(items), _SPAN):
                waiting.append(pool.submit(_run_span, job, items[start : start + _SPAN]))
                if len(waiting) > 2 * num_workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _run_span(job: Callable[[S], T], items: Sequence[S]) -> list[T]:
    return [job(item) for item in items]
