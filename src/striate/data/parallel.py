"""Many small jobs in threads, in order and in bounded memory; decoding and hashing release Python's lock."""

import functools
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


S = TypeVar("S")
T = TypeVar("T")

_SPAN = 16  # items handed out at a time: handing out costs more than a small job


def num_processors() -> int:
    """Number of processors this process may use: those of its affinity, or fewer where a container's quota says so."""
    available = num_processors_of_affinity()
    quota = _processor_quota()
    return available if quota is None else max(1, min(available, math.ceil(quota)))


def num_processors_of_affinity() -> int:
    """Number of processors this process may be scheduled on, whatever fraction of their time is its own."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _processor_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Processors' worth of time that Linux control groups (version 2 or 1) allow this process; None without a limit."""
    quotas = []
    for folder in _control_groups(root, own):
        with suppress(OSError, ValueError, IndexError):
            quota, period = (folder / "cpu.max").read_text().split()[:2]
            quotas.append(float(quota) / float(period))  # "max" is no number
        with suppress(OSError, ValueError):
            quota = (folder / "cpu.cfs_quota_us").read_text()  # -1 without a limit
            quotas.append(float(quota) / float((folder / "cpu.cfs_period_us").read_text()))
    return min((quota for quota in quotas if quota > 0), default=None)


def _control_groups(root: Path, own: Path) -> list[Path]:
    """The folders of this process's groups and of all groups around them, where they are mounted."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "" or "cpu" in controllers.split(","):
            mount = root if controllers == "" else root / controllers
            inside = mount / path.lstrip("/")
            folders += [mount, *(folder for folder in (inside, *inside.parents) if mount in folder.parents)]
    return folders


def compute_alone() -> None:
    """PyTorch's operators called in this thread from now on take no other threads to help. Where several threads read
    ahead, their helpers took processors from one another: crops came at six tenths of the speed.
    """
    import torch

    torch.get_num_threads()  # a thread's first question sets its number; ours comes after it
    _controller().limit(limits=1, user_api="openmp")


@functools.cache
def _controller() -> "ThreadpoolController":
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def prefetch(
    thunks: Iterable[Callable[[], T]],
    *,
    depth: int = 2,
    num_workers: int = 1,
    initializer: Callable[[], None] | None = None,
) -> Generator[T, None, None]:
    """The results of calling each thunk, in order, computed in `num_workers` threads up to `depth` results ahead.

    Each thread calls the `initializer` first.
    The thunks are drawn in the caller's thread and run only as far ahead as `depth`, so memory stays bounded. What a
    thunk raises is raised when its turn comes. Leaving early (break, an error, `close`) cancels what has not begun and
    waits for the threads to end.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(num_workers, "striate-prefetch", initializer) as executor:
        try:
            for thunk in thunks:
                waiting.append(executor.submit(thunk))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def map_in_order(
    job: Callable[[S], T], items: Sequence[S], *, num_workers: int | None = None
) -> Generator[T, None, None]:
    """`job` of every item, in order, run in `num_workers` threads (as many as processors when None) ahead of the
    caller, as by `prefetch`. What a job raises is raised in its turn, or up to 15 items earlier.
    """
    num_workers = num_workers or num_processors()
    spans = (partial(_run_span, job, items[start : start + _SPAN]) for start in range(0, len(items), _SPAN))
    with closing(prefetch(spans, depth=2 * num_workers, num_workers=num_workers)) as results:
        for part in results:
            yield from part


def _run_span(job: Callable[[S], T], items: Sequence[S]) -> list[T]:
    return [job(item) for item in items]
