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
    *("--epochs", "3", "--batch-size", "718", "--learning-rate", "0.0001", "--ema-decay", "0.9", "--device", "cpu"),
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


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """A run of two processes."""
    folder = tmp_path_factory.mktemp("devices")
    done = run_command(folder, "striate", "train", *RESNET, "--run", folder / "two", "--devices", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "finished"  # one document: only the first process prints
    assert done.stderr.count("2 processes share each batch of 718 images and train what one would") == 1
    return folder / "two"


@pytest.mark.slow
def test_two_devices_give_what_one_gives(tmp_path, striate_command, two):
    one = tmp_path / "one"
    assert striate_command("train", *RESNET, "--run", one).code == 0
    assert json.loads((one / "splits.json").read_text()) == json.loads((two / "splits.json").read_text())
    for alone, shared in zip(epochs(one), epochs(two), strict=True):
        assert alone["validation_accuracy"] == shared["validation_accuracy"]
        for name in ("train_loss", "validation_loss"):
            assert abs(alone[name] - shared[name]) < 2e-5, name
    assert (flat(one) - flat(two)).norm() < 1e-4 * flat(one).norm()
    figures = [json.loads((run / "evaluation.json").read_text())["top1_accuracy"] for run in (one, two)]
    assert figures[0] == figures[1]
    assert json.loads((two / "run.json").read_text())["machine"]["devices"] == 2


@pytest.mark.exhaustive
def test_two_devices_train_the_last_layers_alike_on_what_the_frozen_ones_gave(tmp_path, two):
    words = ("train", "digits", "--weights", two, "--freeze", "lower", "--views", 2, "--epochs", 2, "--batch-size", 718)
    words += ("--learning-rate", 0.0001, "--precision", "32-true", "--no-checks", "--device", "cpu")
    for devices in (1, 2):
        done = run_command(tmp_path, "striate", *words, "--devices", devices, "--run", tmp_path / str(devices))
        assert done.returncode == 0, done.stderr
        assert "the frozen lower part ran once over 2 views" in " ".join(done.stderr.split())
    one, shared = flat(tmp_path / "1"), flat(tmp_path / "2")
    assert (one - shared).norm() < 1e-4 * one.norm()
    assert (one - flat(two)).norm() > 1e-3 * one.norm()


@pytest.mark.slow
def test_torchrun_starts_again_what_was_killed_and_it_ends_bit_for_bit(tmp_path, two):
    killed = tmp_path / "killed"
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
        *RESNET,
    )
    process = start_command(tmp_path, *torchrun, "--run", killed)
    deadline = time.monotonic() + 120
    while not list((killed / "checkpoint").glob("*.json")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(second_worker(process.pid), signal.SIGKILL)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert err.count(f"torchrun has started the processes again: going on with {killed}") == 1
    assert [line["epoch"] for line in epochs(killed)] == [1, 2, 3]
    left, right = (load_file(run / "model.safetensors") for run in (two, killed))
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


@pytest.mark.slow
def test_ctrl_c_stops_all_and_a_killed_one_ends_all_with_one_line(tmp_path):
    options = ("digits", "--network", "lenet5", "--no-checks", "--device", "cpu", "--epochs", "2000")
    process = start_command(tmp_path, "striate", "train", *options, "--devices", 2, "--run", "run")
    wait_for_line(tmp_path / "run", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    assert err.count("stopped; go on with: striate train --resume run") == 1
    assert "Traceback" not in err
    before = len(epochs(tmp_path / "run"))
    process = start_command(tmp_path, "striate", "train", "--resume", "run")  # with as many processes as it had
    wait_for_line(tmp_path / "run", process, more_than=before)
    os.kill(second_worker(process.pid), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert [line for line in err.splitlines() if line.startswith("Error: ")] == [
        "Error: process 0 of 2 lost the others: one was killed, ran out of memory or failed; go on with: striate "
        "train --resume run"
    ]


def start_command(folder: Path, *words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", *map(str, words)]
    return subprocess.Popen(command, cwd=folder, env=environment(folder), stderr=subprocess.PIPE, text=True)


def wait_for_line(run: Path, process: subprocess.Popen, *, more_than: int = 0) -> None:
    """Until the run has written so many epochs and one more."""
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").exists() or len(epochs(run)) <= more_than:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_devices_and_a_launcher_must_agree(striate_command, monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    line = striate_command("train", "digits", "--devices", 3).refused()
    assert "--devices says 3 but the launcher has started 2 on this machine; leave --devices out" in line
    assert "--find-rate runs in one process" in striate_command("train", "digits", "--find-rate").refused()
