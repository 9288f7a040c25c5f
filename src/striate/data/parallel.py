"""Many small jobs in threads, in order and in bounded memory; decoding and hashing release Python's lock."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def num_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(job: Callable[[S], T], items: Iterable[S], *, num_workers: int | None = None) -> Iterator[T]:
    """`job` of every item, in the order of the items, run in threads a few items ahead of the caller.

    What a job raises is raised when its turn comes. Leaving early cancels what has not begun and waits for what has.
    """
    num_workers = num_workers or num_processors()
    with ThreadPoolExecutor(num_workers) as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(job, item))
                if len(waiting) > 4 * num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
