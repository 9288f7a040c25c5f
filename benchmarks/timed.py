"""Commands timed from start to end, taking turns, each in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
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
    """Seconds from start to end, and bytes of the largest process. RuntimeError, with its last words, where it fails.

    A small process starts the command and waits for it: the kernel counts what the starting process held as the started
    one's.
    """
    done = subprocess.run(
        [sys.executable, "-S", "-c", _WATCH, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | dict(environment or {}),
        cwd=folder,
        check=True,
    )
    said, _, last = done.stdout.rpartition(b"\n")
    status, seconds, kilobytes = json.loads(last)
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {status}: {said[-1500:].decode()}")
    return seconds, kilobytes * 1024


_WATCH = """
import json, os, sys, time
began = time.perf_counter()
process = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print("\\n" + json.dumps([os.waitstatus_to_exitcode(status), time.perf_counter() - began, usage.ru_maxrss]), end="")
"""
