"""SIGKILL at any moment, Ctrl-C, then `striate train --resume`: the run that was never stopped, bit for bit."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from striate import load_model

LAUNCH = (sys.executable, "-m", "striate", "train")
# everything random at once: augmentation, mixup, dropout of the network, momentum, moving average, several batches an
# update
OPTIONS = (
    *("--network", "alexnet_small", "--epochs", "4", "--batch-size", "4", "--learning-rate", "0.001", "--no-checks"),
    *("--flip", "--shift", "2", "--mixup", "0.2", "--ema-decay", "0.9", "--accumulate-steps", "2", "--seed", "3"),
)


def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"STRIATE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}


def start(tmp_path: Path, *words: object) -> subprocess.Popen:
    return subprocess.Popen(
        [*LAUNCH, *map(str, words)], env=environment(tmp_path), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path, process: subprocess.Popen, *, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.005)


def finish(process: subprocess.Popen) -> str:
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return err


def epochs(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("elapsed_s", "images_per_s")} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    assert epochs(one) == epochs(other)
    newest = [sorted((run / "checkpoint").glob("*.safetensors"))[-1] for run in (one, other)]
    for files in ([run / "model.safetensors" for run in (one, other)], newest):
        left, right = map(load_file, files)
        assert left.keys() == right.keys()
        for name in left:
            assert left[name].equal(right[name]), name
    for name in ("evaluation.json", "splits.json"):
        assert json.loads((one / name).read_text()) == json.loads((other / name).read_text())


@pytest.mark.exhaustive
def test_a_streamed_run_goes_on_bit_for_bit(tmp_path, stripes):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(tmp_path, stripes, "--run", whole, *OPTIONS, "--stream"))
    process = start(tmp_path, stripes, "--run", broken, *OPTIONS, "--stream")
    wait_for(broken / "checkpoint" / "step-00000004.json", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finish(start(tmp_path, "--resume", broken))
    assert_same_run(whole, broken)
    assert not (tmp_path / "cache" / "packs").exists()


@pytest.mark.slow
def test_killed_again_and_again_the_run_comes_out_bit_for_bit(tmp_path, stripes):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(tmp_path, stripes, "--run", whole, *OPTIONS))
    process = start(tmp_path, stripes, "--run", broken, *OPTIONS)
    wait_for(broken / "checkpoint" / "step-00000004.json", process)
    rng = random.Random(7)
    for _ in range(2):
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        process = start(tmp_path, "--resume", broken)
        wait_for(broken / "run.json", process)
        time.sleep(rng.uniform(2, 4))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finish(start(tmp_path, "--resume", broken))
    assert_same_run(whole, broken)


@pytest.mark.slow
def test_ctrl_c_finishes_cleanly_and_says_how_to_go_on(tmp_path, stripes):
    run = tmp_path / "run"
    process = start(tmp_path, stripes, "--run", run, *OPTIONS, "--epochs", "400")
    wait_for(run / "checkpoint" / "step-00000004.json", process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"go on with: striate train --resume {run}" in err
    assert "Traceback" not in err
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"


def test_a_finished_run_is_left_as_it_is(striate_command, stripes, tmp_path):
    run = tmp_path / "run"
    assert striate_command("train", stripes, "--run", run, "--epochs", 2, "--batch-size", 8, "--no-checks").code == 0
    before = (run / "model.safetensors").read_bytes()
    again = striate_command("train", "--resume", run, "--json")
    assert again.code == 0, again.err
    assert again.json["status"] == "finished"
    assert (run / "model.safetensors").read_bytes() == before


def test_a_run_whose_data_changed_is_not_resumed(striate_command, stripes, tmp_path):
    run = tmp_path / "run"
    assert striate_command("train", stripes, "--run", run, "--epochs", 1, "--batch-size", 8, "--no-checks").code == 0
    (stripes / "along" / "000.png").rename(stripes / "across" / "moved.png")
    assert "are not those" in striate_command("train", "--resume", run).refused()


def test_a_run_whose_data_are_gone_says_so(striate_command, stripes, tmp_path):
    run = tmp_path / "run"
    assert striate_command("train", stripes, "--run", run, "--epochs", 1, "--batch-size", 8, "--no-checks").code == 0
    stripes.rename(tmp_path / "elsewhere")
    assert "not there any more" in striate_command("train", "--resume", run).refused()


def test_checks_that_a_kill_prevented_are_made_up_for(striate_command, stripes, tmp_path):
    run = tmp_path / "run"
    assert striate_command("train", stripes, "--run", run, "--epochs", 1, "--batch-size", 8).code == 0
    described = json.loads((run / "run.json").read_text())
    assert len(described["checks"]) == 4
    shutil.rmtree(run / "checkpoint")
    (run / "run.json").write_text(json.dumps(described | {"checks": [], "status": "running"}))
    assert striate_command("train", "--resume", run).code == 0
    assert len(json.loads((run / "run.json").read_text())["checks"]) == 4


def test_a_run_that_goes_is_not_resumed_beside_itself(tmp_path):
    first = start(
        tmp_path, "digits", "--run", "run", "--network", "lenet5", "--epochs", 200, "--no-checks", "--no-measure"
    )
    wait_for(tmp_path / "run" / "metrics.jsonl", first)
    second = start(tmp_path, "--resume", "run")
    assert second.wait(timeout=120) == 2
    assert f"Error: run is in use by process {first.pid} on" in second.stderr.read()
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=120) == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    first.stderr.close(), second.stderr.close()


def test_a_finished_run_says_so_and_a_damaged_neighbour_stops_nobody(tmp_path, monkeypatch, striate_command):
    (tmp_path / "runs" / "damaged").mkdir(parents=True)
    (tmp_path / "runs" / "damaged" / "run.json").write_text("{")
    quick = ("--network", "lenet5", "--epochs", 1, "--no-checks")
    assert striate_command("train", "digits", *quick).code == 0
    again = striate_command("train", "--resume", "runs/digits-lenet5-1")
    assert again.code == 0
    assert "is finished: nothing is left to train" in again.err
    longer = striate_command("train", "--resume", "runs/digits-lenet5-1", "--epochs", 5).refused()
    assert "striate train digits --weights runs/digits-lenet5-1 --epochs 5" in longer
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "mine")
    assert striate_command("train", "digits", *quick).code == 0


def test_freezing_without_weights_is_told(striate_command):
    done = striate_command("train", "digits", "--network", "lenet5", "--epochs", 1, "--no-checks", "--freeze", "base")
    assert "without weights keeps the others at their random first values" in done.err


@pytest.mark.parametrize(
    ("stored", "pixels", "line"),
    [
        (
            {"pillow": "9.9.9"},
            "0" * 32,
            "began under pillow 9.9.9 (now {pillow}), and its images now come out with other",
        ),
        (
            {"torch": "2.0", "striate": "0.0.1"},
            None,
            "began under striate 0.0.1 (now {striate}), torch 2.0 (now {torch}); its",
        ),
        ({}, "0" * 32, "come out with other pixels than when it began, under the same versions"),
        ({}, None, None),
    ],
)
def test_a_run_resumed_under_other_versions_says_so_and_keeps_it(
    striate_command, stripes, tmp_path, stored, pixels, line
):
    run = tmp_path / "run"
    options = ("--network", "lenet5", "--epochs", 1, "--no-checks", "--no-measure", "--run", run)
    assert striate_command("train", stripes, *options).code == 0
    shutil.rmtree(run / "checkpoint")
    described = json.loads((run / "run.json").read_text())
    now = {"striate": described["striate"], **described["versions"]}
    before = now | stored
    data = described["data"] | ({} if pixels is None else {"pixels": pixels})
    changed = {"striate": before["striate"], "versions": {name: before[name] for name in described["versions"]}}
    (run / "run.json").write_text(json.dumps(described | changed | {"status": "running", "data": data}))
    again = striate_command("train", "--resume", run)
    assert again.code == 0, again.err
    resumed = json.loads((run / "run.json").read_text())
    assert {"striate": resumed["striate"], **resumed["versions"]} == now
    assert resumed["data"]["pixels"] == described["data"]["pixels"]
    if line is None:
        assert "resumed" not in resumed
        assert "began" not in again.err
        return
    assert line.format(**now) in again.err
    assert line.format(**now) in " ".join(resumed["notices"])
    (entry,) = resumed["resumed"]
    assert (entry["versions_before"], entry["pixels_changed"]) == (before, pixels is not None)
    provenance = load_model(run).provenance
    assert (provenance["versions"], provenance["resumed"]) == (resumed["versions"], resumed["resumed"])


def test_images_that_only_another_version_reads_are_not_taken_for_other_images(striate_command, stripes, tmp_path):
    run = tmp_path / "run"
    options = ("--network", "lenet5", "--epochs", 1, "--no-checks", "--no-measure", "--run", run)
    assert striate_command("train", stripes, *options).code == 0
    described = json.loads((run / "run.json").read_text())
    described["data"]["splits"]["digest"] = "other"
    described["versions"]["pillow"] = "9.9.9"
    (run / "run.json").write_text(json.dumps(described))
    line = striate_command("train", "--resume", run).refused()
    assert f"can be read than when {run} was started (pillow 9.9.9 (now " in line
