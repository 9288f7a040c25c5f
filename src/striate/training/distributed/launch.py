"""Several processes on this machine that train together: started, watched and stopped here.

Nothing here imports torch, so that what watches costs nothing. The processes find their place in the environment
variables that torchrun sets too; a run started by torchrun therefore works alike.
"""

import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from striate.errors import InputError

MEETING_PLACE = "STRIATE_MEETING_PLACE"
"""Names the folder in which processes that striate itself started meet; those of torchrun have none."""
_TOLD = "told"
_GRACE_S = 30.0
"""Seconds that processes may take to end by themselves once one of them has failed."""
_MOST = 1024


@dataclass(frozen=True)
class Rank:
    """The rank of this process: `rank` of `world_size` in all, `local_rank` of `local_world_size` on this machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def num_nodes(self) -> int:
        return self.world_size // self.local_world_size


def current_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """This process's place as its launcher says; process 0 of 1 where there was none. InputError for nonsense."""
    if not is_launched(environment):
        return Rank()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        rank, world_size, local_rank, local_world_size = (int(environment[name]) for name in names)
    except (KeyError, ValueError):
        found = ", ".join(f"{name}={environment.get(name)}" for name in names)
        raise InputError(
            f"a launcher such as torchrun sets {', '.join(names)} to whole numbers but they are {found}; "
            "start with torchrun, or unset them"
        ) from None
    if not (0 <= local_rank < local_world_size <= world_size and rank < world_size):
        raise InputError(f"process {rank} of {world_size}, {local_rank} of {local_world_size} here, cannot be")
    if world_size % local_world_size:
        raise InputError(
            f"{world_size} processes, {local_world_size} of them here, are not equally many on every machine; "
            "start as many on each"
        )
    return Rank(rank, world_size, local_rank, local_world_size)


def is_launched(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is one of several that a launcher started, or the only one of torchrun."""
    return all(name in environment for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))


def rendezvous_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The folder in which processes that `launch` started meet; None for others."""
    return Path(environment[MEETING_PLACE]) if MEETING_PLACE in environment else None


def launch_identity(environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """The identity of the torchrun that started this process: the "run_id" it was given ("none" by default) and its own
    "launcher" process; None without torchrun.
    """
    run_id = environment.get("TORCHELASTIC_RUN_ID")
    if run_id is None or not is_launched(environment):
        return None
    return {"run_id": run_id, "launcher": f"{platform.node()} {os.getppid()} {_start_of(os.getppid())}"}


def num_restarts(environment: Mapping[str, str] = os.environ) -> str:
    """Number of restarts by torchrun, as it writes it; "0" without torchrun."""
    return environment.get("TORCHELASTIC_RESTART_COUNT", "0")


def is_restart_of(launch: Mapping[str, str] | None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun has started this process to go on with what the processes of `launch` began.

    The same torchrun did, or after a failure one of the same run id, on whatever machine; "none" is everybody's.
    """
    own = launch_identity(environment)
    if own is None or not launch:
        return False
    is_restarted = num_restarts(environment) != "0"
    has_own_id = own["run_id"] not in ("", "none")
    return launch.get("run_id") == own["run_id"] and (
        launch.get("launcher") == own["launcher"] or (is_restarted and has_own_id)
    )


def _start_of(process_id: int) -> str:
    """When a process started, in the kernel's own count; process ids come again. Empty where there is no /proc."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def may_complain(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process should say what went wrong: of several, the first that fails, or one on each machine."""
    if not is_launched(environment):
        return True
    folder = rendezvous_folder(environment)
    if folder is None:
        return environment["LOCAL_RANK"] == "0"
    try:
        (folder / _TOLD).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return environment["LOCAL_RANK"] == "0"
    return True


def launch(words: Sequence[str], num_processes: int, *, complain: Callable[[str], None]) -> int:
    """Run `striate WORDS` in so many processes that train together, and wait; the exit code of the command.

    Ctrl-C and SIGTERM are handed on to each. When one fails the others end too, and if none of them could say why,
    because it was killed, `complain` gets the line. They end as well when this process is killed. InputError for a
    number that cannot be.
    """
    if not 1 <= num_processes <= _MOST:
        raise InputError(f"devices must lie in [1, {_MOST}] but is {num_processes}")
    with tempfile.TemporaryDirectory(prefix="striate-") as folder:
        processes = [
            _start(words, Rank(rank, num_processes, rank, num_processes), folder) for rank in range(num_processes)
        ]
        handlers = {number: signal.signal(number, _hand_on_to(processes)) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            codes = _wait_for_all(processes)
        finally:
            for process in processes:
                _end(process)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        killed = [(rank, -code) for rank, code in enumerate(codes) if code < 0]
        if killed and not (Path(folder) / _TOLD).exists():
            rank, signal_number = killed[0]
            complain(
                f"process {rank} of {num_processes} was ended by {signal.Signals(signal_number).name}, perhaps for "
                "want of memory; go on with: striate train --resume RUN"
            )
    return next((code if code > 0 else 2 for code in codes if code), 0)


def start_python(
    words: Sequence[str], *, environment: Mapping[str, str] | None = None, output: BinaryIO | None = None
) -> subprocess.Popen[bytes]:
    """A Python process for `words`, which imports nothing that happens to lie in the working directory.

    It is in a session of its own, so that Ctrl-C comes once, from here, and its standard input ends when this process
    does. `environment` is added to the variables of this one; standard output and error go to `output` where that is
    given.
    """
    own = os.environ | (environment or {}) | {"PYTHONSAFEPATH": "1"}  # a types.py that lies there is nobody's module
    command = [sys.executable, "-P", *words]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=own, start_new_session=True
    )


def end_with_parent() -> None:
    """Ask this process to stop when the one that launched it, if one did, is gone."""
    if rendezvous_folder() is not None:
        end_with_input()


def end_with_input() -> None:
    """Ask this process to stop when its standard input ends: the one that started it holds the other end, and is gone
    then.
    """
    threading.Thread(target=_wait_for_end, name="striate-parent", daemon=True).start()


def _wait_for_end() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _start(words: Sequence[str], place: Rank, folder: str) -> subprocess.Popen[bytes]:
    environment = {
        "RANK": str(place.rank),
        "WORLD_SIZE": str(place.world_size),
        "LOCAL_RANK": str(place.local_rank),
        "LOCAL_WORLD_SIZE": str(place.local_world_size),
        "GROUP_RANK": "0",
        MEETING_PLACE: folder,
    }
    return start_python(["-m", "striate", *words], environment=environment)


def _hand_on_to(processes: Sequence[subprocess.Popen[bytes]]) -> Callable[[int, FrameType | None], None]:
    def hand_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    return hand_on


def _wait_for_all(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Their exit codes; those that go on for long after one has failed are killed."""
    deadline = None
    while any(process.poll() is None for process in processes):
        if deadline is None and any(process.poll() for process in processes):
            deadline = time.monotonic() + _GRACE_S
        if deadline is not None and time.monotonic() > deadline:
            for process in processes:
                _end(process)
        time.sleep(0.05)
    return [process.wait() for process in processes]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
