"""Two processes never work in one run folder; a dead one holds nothing."""

import os
import subprocess
import sys

import pytest

from striate.errors import RunError
from striate.recipes.run_folder import check_run_dir
from striate.recipes.run_lock import LOCK_FILE, locking_run

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom striate.recipes.run_lock import locking_run\n"
    "with locking_run(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def test_a_held_folder_is_refused_with_the_process_number_until_its_holder_dies(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        for _ in range(2):  # a refusal changes nothing
            with (
                pytest.raises(RunError, match=rf"in use by process {other.pid} on .*; wait until it ends"),
                locking_run(tmp_path),
            ):
                pass
        other.kill()
        other.wait()
    with locking_run(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text().startswith(f"process {os.getpid()} on ")
    assert (tmp_path / LOCK_FILE).read_text() == ""


def test_a_folder_with_nothing_but_a_lock_is_empty(tmp_path):
    with locking_run(tmp_path):
        pass
    check_run_dir(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / LOCK_FILE).mkdir()
    with pytest.raises(RunError, match="cannot be written"), locking_run(tmp_path):
        pass
