"""`striate train --devices 2` and torchrun: real processes that train what one would, also after one was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# few updates at a small rate: after many, one process with two threads is as far from one with one as two processes are
RESNET = (
    *(
        "digits",
        "--network",
        "resnet20_cifar",
        "--image-size",
        "16",
        "--precision",
        "32-true",
        "--no-checks",
        "--seed",
        "1",
    ),
    *("--epochs", "2", "--batch-size", "718", "--learning-rate", "0.0001", "--ema-decay", "0.9", "--device", "cpu"),
)
ELASTIC = (
    *("digits", "--network", "lenet5", "--no-checks", "--seed", "1", "--device", "cpu"),
    *("--epochs", "3", "--batch-size", "32", "--mixup", "0.2"),
)


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"STRIATE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def run_command(folder: Path, *words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=240,
    )


def epochs(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def flat(run: Path) -> torch.Tensor:
    return torch.cat([value.double().flatten() for _, value in sorted(load_file(run / "model.safetensors").items())])


@pytest.mark.slow
def test_two_devices_give_what_one_gives(tmp_path, striate_command):
    one, two = tmp_path / "one", tmp_path / "two"
    assert striate_command("train", *RESNET, "--run", one).code == 0
    done = run_command(tmp_path, "striate", "train", *RESNET, "--run", two, "--devices", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "finished"  # one document: only the first process prints
    assert done.stderr.count("2 processes share each batch of 718 images and train what one would") == 1
    assert json.loads((one / "splits.json").read_text()) == json.loads((two / "splits.json").read_text())
    for alone, shared in zip(epochs(one), epochs(two), strict=True):
        assert alone["validation_accuracy"] == shared["validation_accuracy"]
        for name in ("train_loss", "validation_loss"):
            assert abs(alone[name] - shared[name]) < 2e-5, name
    assert (flat(one) - flat(two)).norm() < 1e-4 * flat(one).norm()
    figures = [json.loads((run / "evaluation.json").read_text())["top1_accuracy"] for run in (one, two)]
    assert figures[0] == figures[1]
    assert json.loads((two / "run.json").read_text())["machine"]["devices"] == 2


@pytest.mark.slow
def test_torchrun_starts_again_what_was_killed_and_it_ends_bit_for_bit(tmp_path):
    torchrun = (
        "torch.distributed.run",
        "--nproc-per-node",
        2,
        "--max-restarts",
        3,
        "-m",
        "--",
        "striate",
        "train",
        *ELASTIC,
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = run_command(tmp_path, "striate", "train", *ELASTIC, "--run", whole, "--devices", 2)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, torchrun), "--run", str(killed)],
        cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((killed / "checkpoint").glob("*.json")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(second_worker(process.pid), signal.SIGKILL)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert f"torchrun has started the processes again: going on with {killed}" in err
    assert [line["epoch"] for line in epochs(killed)] == [1, 2, 3]
    left, right = (load_file(run / "model.safetensors") for run in (whole, killed))
    assert [name for name in left if not left[name].equal(right[name])] == []


def second_worker(torchrun: int) -> int:
    """The process of rank 1 that this torchrun started."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == torchrun and b"\0LOCAL_RANK=1\0" in b"\0" + (path / "environ").read_bytes():
                return int(path.name)
        except OSError:
            continue
    raise AssertionError("torchrun has no second worker")


def test_devices_and_a_launcher_must_agree(striate_command, monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    line = striate_command("train", "digits", "--devices", 3).refused()
    assert "--devices says 3 but the launcher has started 2 on this machine; leave --devices out" in line
    assert "--find-rate scans in one process" in striate_command("train", "digits", "--find-rate").refused()
