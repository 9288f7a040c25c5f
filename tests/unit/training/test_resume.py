"""Killed by the operating system, not by a simulation: the run that goes on must end bit by bit like the one never
killed.
"""

import json
import random
import signal
import time

import pytest
import safetensors.torch
import torch

from training_processes import RECIPES, process_server, session


@pytest.fixture(scope="module")
def processes():
    return process_server()


def run(processes, run_dir, name, *, kill_after_s=None, kill_at_write=None):
    """One session; its exit code."""
    process = processes.Process(target=session, args=(run_dir, name, kill_at_write))
    process.start()
    if kill_after_s is not None:
        deadline = time.monotonic() + 30
        while not (run_dir / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.005)  # until it trains
        time.sleep(kill_after_s)
        process.kill()
    process.join()
    return process.exitcode


def outcome(run_dir):
    """Final weights, best weights, and metrics without clocks."""
    weights = {}
    for name in ("final", "best"):
        loaded = safetensors.torch.load_file(run_dir / f"{name}.safetensors")
        weights |= {f"{name} {key}": value for key, value in loaded.items()}
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return weights, [{key: value for key, value in line.items() if not key.endswith("_s")} for line in lines]


def assert_same_outcome(run_dir, other):
    (weights, lines), (expected_weights, expected_lines) = outcome(run_dir), outcome(other)
    assert lines == expected_lines
    assert weights.keys() == expected_weights.keys()
    assert [key for key in weights if not torch.equal(weights[key], expected_weights[key])] == []


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_killed_at_random_moments_ends_like_one_never_killed(processes, tmp_path, name):
    chance = random.Random(name)
    assert run(processes, tmp_path / "whole", name) == 0
    num_kills = 0
    for number in range(5):  # the first as soon as it trains, which no run survives
        code = run(processes, tmp_path / "killed", name, kill_after_s=chance.uniform(0.0, 0.4) if number else 0.0)
        num_kills += code == -signal.SIGKILL
    assert num_kills > 0
    assert run(processes, tmp_path / "killed", name) == 0
    assert_same_outcome(tmp_path / "killed", tmp_path / "whole")


def test_a_run_killed_while_it_writes_ends_like_one_never_killed(processes, tmp_path):
    name = "nesterov with everything"
    assert run(processes, tmp_path / "whole", name) == 0
    for number in (1, 2, 7, 8, 13, 14):  # odd: tensors half written; even: tensors whole, their JSON half written
        assert run(processes, tmp_path / "killed", name, kill_at_write=number) == -signal.SIGKILL
    assert run(processes, tmp_path / "killed", name) == 0
    assert_same_outcome(tmp_path / "killed", tmp_path / "whole")
