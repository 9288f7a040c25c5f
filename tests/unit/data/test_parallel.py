import threading
import time

import pytest

from striate.data.parallel import map_in_order, num_processors


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
