import os
import signal
import subprocess
import sys
import time

import pytest

from striate.errors import InputError
from striate.training.distributed import launch as launching
from striate.training.distributed.launch import (
    Rank,
    current_rank,
    is_restart_of,
    launch,
    launch_identity,
    may_complain,
    start_python,
)

SECOND = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
TORCHRUN = {**SECOND, "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0"}


def test_the_place_comes_from_the_launcher():
    assert current_rank({}) == Rank(0, 1, 0, 1)
    assert current_rank(SECOND) == Rank(1, 4, 1, 2)
    assert current_rank(SECOND).num_nodes == 2


def test_a_place_that_cannot_be():
    with pytest.raises(
        InputError, match=r"to whole numbers but they are RANK=1, WORLD_SIZE=4, LOCAL_RANK=1, LOCAL_WORLD_SIZE=None"
    ):
        current_rank({name: value for name, value in SECOND.items() if name != "LOCAL_WORLD_SIZE"})
    with pytest.raises(InputError, match=r"^process 7 of 4, 1 of 2 here, cannot be$"):
        current_rank(SECOND | {"RANK": "7"})
    with pytest.raises(InputError, match=r"^5 processes, 2 of them here, are not equally many on every machine"):
        current_rank(SECOND | {"WORLD_SIZE": "5"})


def test_only_what_the_same_torchrun_began_is_its_own():
    mine = launch_identity(TORCHRUN)
    assert mine is not None
    assert mine["run_id"] == "none"
    assert is_restart_of(mine, TORCHRUN)  # the same torchrun process is this process's parent
    strangers = mine | {"launcher": "elsewhere 1 1"}
    assert not is_restart_of(strangers, TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1"})  # "none" is everybody's
    named = TORCHRUN | {"TORCHELASTIC_RUN_ID": "job7"}
    assert not is_restart_of(strangers | {"run_id": "job7"}, named)  # a first start is no restart
    assert is_restart_of(strangers | {"run_id": "job7"}, named | {"TORCHELASTIC_RESTART_COUNT": "2"})
    assert not is_restart_of(strangers | {"run_id": "job8"}, named | {"TORCHELASTIC_RESTART_COUNT": "2"})
    assert not is_restart_of(None, TORCHRUN)
    assert not is_restart_of(mine, {})


def test_of_several_the_first_that_fails_complains(tmp_path):
    assert may_complain({})
    assert [may_complain(SECOND | {"LOCAL_RANK": str(rank)}) for rank in (0, 1)] == [True, False]
    meeting = SECOND | {launching.MEETING_PLACE: str(tmp_path)}
    assert [may_complain(meeting) for _ in range(3)] == [True, False, False]


def test_one_line_and_exit_code_2_for_what_all_refuse(capfd):
    assert launch(["nonsense"], 3, complain=print) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("Error: ") == 1
    assert "No such command 'nonsense'" in err


def test_success_of_all_is_success(capfd):
    assert launch(["--version"], 2, complain=print) == 0
    assert capfd.readouterr().err == ""


def test_a_number_of_processes_that_cannot_be():
    with pytest.raises(InputError, match=r"^devices must lie in \[1, 1024\] but is 5000$"):
        launch(["--version"], 5000, complain=print)


def test_processes_end_when_the_one_that_launched_them_is_gone(tmp_path):
    code = (
        "from striate.training.distributed.launch import end_with_parent; import time; end_with_parent(); "
        "print('up', flush=True); time.sleep(60)"
    )
    environment = os.environ | {launching.MEETING_PLACE: str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert worker.stdout.readline() == b"up\n"
    time.sleep(0.1)
    assert worker.poll() is None
    worker.stdin.close()  # as the end of the launching process does, however it came
    assert worker.wait(timeout=20) == -signal.SIGTERM
    worker.stdout.close()


def test_a_process_ends_when_the_one_that_started_it_is_gone():
    code = "import time; from striate.training.distributed.launch import end_with_input as end; end(); time.sleep(60)"
    process = start_python(["-c", code])
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == -signal.SIGTERM
