import json
from pathlib import Path

import pytest

from striate.errors import RunError
from striate.training.metrics_log import MetricsLog


def test_lines_are_appended_and_the_position_is_the_length(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.start()
    log.append({"epoch": 1})
    log.append({"epoch": 2})
    assert [json.loads(line)["epoch"] for line in log.path.read_text().splitlines()] == [1, 2]
    assert log.position == log.path.stat().st_size


def test_what_lies_beyond_the_checkpoint_is_cut_off(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.start()
    log.append({"epoch": 1})
    position = log.position
    log.append({"epoch": 2})
    again = MetricsLog(log.path)
    assert again.start(position)
    again.append({"epoch": 2, "again": True})
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == [
        {"epoch": 1},
        {"epoch": 2, "again": True},
    ]


def test_a_file_that_is_too_short_is_noticed(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert not log.start(100)
    log.append({"epoch": 1})
    assert json.loads(log.path.read_text()) == {"epoch": 1}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    log = MetricsLog(tmp_path / "metrics.jsonl")
    with pytest.raises(
        RunError, match=r"^the disk is full: cannot write .*metrics.jsonl .*; free some space and resume"
    ):
        log.append({"epoch": 1})


def test_a_folder_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        RunError, match=r"^cannot write .*: (File exists|Not a directory); make it writable and resume the"
    ):
        MetricsLog(tmp_path / "file" / "metrics.jsonl").start()
