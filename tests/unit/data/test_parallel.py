import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from striate.data.parallel import _processor_quota, compute_alone, map_in_order, num_processors, prefetch
from striate.errors import DataError


def test_results_are_in_order():
    def job(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * number

    assert list(map_in_order(job, range(100), num_workers=4)) == [number * number for number in range(100)]
    assert list(map_in_order(job, [], num_workers=4)) == []


def test_errors_arrive_and_threads_end():
    def job(number: int) -> int:
        if number == 40:
            raise OSError("disk gone")
        return number

    before = threading.active_count()
    with pytest.raises(OSError, match="disk gone"):
        list(map_in_order(job, range(1000), num_workers=2))
    assert threading.active_count() == before


def test_work_runs_only_a_little_ahead():
    done = []
    results = map_in_order(done.append, range(10_000), num_workers=2)
    next(results)
    results.close()
    assert len(done) <= 200


def test_there_is_a_processor():
    assert num_processors() >= 1


def count_threads() -> int:
    return sum(thread.name.startswith("striate-prefetch") for thread in threading.enumerate())


def test_a_thread_that_computes_alone_takes_no_others_and_leaves_them_be() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(1, initializer=compute_alone) as alone, ThreadPoolExecutor(1) as other:
            assert alone.submit(torch.get_num_threads).result() == 1
            assert other.submit(torch.get_num_threads).result() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_each_thread_begins_with_the_initializer() -> None:
    begun: list[str] = []
    thunks = (partial(time.sleep, 0.01) for _ in range(8))
    list(prefetch(thunks, depth=4, num_workers=2, initializer=lambda: begun.append(threading.current_thread().name)))
    assert len(begun) == len(set(begun)) == 2


def test_results_come_in_order_whoever_is_faster() -> None:
    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    for num_workers in (1, 4):
        results = prefetch((partial(slow, n) for n in range(30)), depth=5, num_workers=num_workers)
        assert list(results) == list(range(30))
    assert list(prefetch([])) == []
    assert count_threads() == 0


def test_no_further_ahead_than_asked() -> None:
    begun = []
    results = prefetch((partial(begun.append, n) for n in range(100)), depth=3)
    for taken in range(1, 20):
        next(results)
        time.sleep(0.001)
        assert len(begun) <= taken + 3
    results.close()


def test_work_is_done_while_the_caller_is_busy() -> None:
    done = threading.Event()
    results = prefetch([lambda: None, done.set], depth=1)
    next(results)
    assert done.wait(5)
    results.close()


def test_errors_travel_at_their_turn() -> None:
    def fail() -> int:
        raise DataError("the third fails")

    results = prefetch([lambda: 1, lambda: 2, fail, lambda: 4], depth=4)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(DataError, match="the third fails"):
        next(results)
    assert count_threads() == 0


def test_errors_of_the_source_of_thunks_travel_too() -> None:
    def thunks() -> Iterator[Callable[[], int]]:
        yield lambda: 1
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(prefetch(thunks()))
    assert count_threads() == 0


def test_leaving_early_leaves_no_thread() -> None:
    calls = []
    for result in prefetch((partial(calls.append, n) for n in range(1000)), depth=4, num_workers=2):
        assert result is None
        break
    assert count_threads() == 0
    assert len(calls) <= 6


def test_a_generator_never_started_starts_no_thread() -> None:
    prefetch([lambda: 1]).close()
    assert count_threads() == 0


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/box/inner\n", {"box/inner/cpu.max": "max 100000", "box/cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "50000 100000"}, 0.5),
        (
            "4:cpu,cpuacct:/box\n",
            {"cpu,cpuacct/box/cpu.cfs_quota_us": "400000", "cpu,cpuacct/box/cpu.cfs_period_us": "100000"},
            4.0,
        ),
        (
            "4:cpu:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000", "cpu.max": "max 100000"},
            None,
        ),
        ("nonsense\n", {"cpu.max": "nonsense"}, None),
        ("", {}, None),
    ],
)
def test_a_containers_quota_of_processors(tmp_path, own, files, quota):
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    assert _processor_quota(tmp_path / "root", tmp_path / "own") == quota


def test_a_machine_without_control_groups_has_no_quota(tmp_path):
    assert _processor_quota(tmp_path, tmp_path / "missing") is None
    assert num_processors() >= 1
