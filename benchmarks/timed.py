"""Commands timed from start to end, taking turns, each in a process of its own."""

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Command = Sequence[str | Path]


def take_turns(commands: Mapping[str, Command], repeats: int, **surroundings: Any) -> dict[str, dict[str, float]]:
    """Every command once in each round: name -> median, smallest and largest seconds, and the most memory it held.

    The memory is that of the largest of its processes. A command that fails stops the benchmark.
    """
    times: dict[str, list[float]] = {name: [] for name in commands}
    memory: dict[str, list[int]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            seconds, peak = run(command, **surroundings)
            times[name].append(seconds)
            memory[name].append(peak)
            print(f"  {name}: {seconds:.2f} s", flush=True)
    return {
        name: {
            "seconds": statistics.median(each),
            "smallest": min(each),
            "largest": max(each),
            "peak_mb": max(memory[name]) / 1e6,
            "runs": len(each),
        }
        for name, each in times.items()
    }


def run(
    command: Command, *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> tuple[float, int]:
    """Seconds from start to end, and bytes of the largest process. RuntimeError, with its last words, where it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | dict(environment or {}),
        cwd=folder,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}: {said[-1500:].decode()}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024
