"""striate bench and striate predict --engine, as a person uses them, on the digits."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image
from sklearn.datasets import load_digits


@pytest.fixture
def trained(tmp_path, striate_command):
    """A LeNet-5 of one epoch on digits, and a folder of digits as files."""
    assert striate_command("train", "digits", "--epochs", 1, "--run", tmp_path / "run", "--no-checks").code == 0
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(load_digits().images[:40]):
        Image.fromarray((image * 15.9).astype("uint8")).save(folder / f"{number:02d}.png")
    return tmp_path / "run", folder


def answers(outcome):
    found = outcome.json["predictions"]
    return [(each["path"], each["classes"][0]["name"], each["classes"][0]["probability"]) for each in found]


def test_every_engine_answers_alike(trained, striate_command):
    run, folder = trained
    slow = striate_command("predict", run, folder, "--engine", "torch", "--json")
    assert slow.json["engine"] == {"name": "torch", "precision": "float32", "variant": "plain"}
    for name in ("onnxruntime", "openvino"):
        quick = striate_command("predict", run, folder, "--engine", name, "--json")
        assert quick.code == 0
        assert quick.json["engine"]["name"] == name
        assert f"computed by {name} float32" in quick.err
        for own, right in zip(answers(quick), answers(slow), strict=True):
            assert own[:2] == right[:2]
            assert own[2] == pytest.approx(right[2], abs=2e-5)


def test_what_was_measured_answers_without_torch(trained, striate_command, tmp_path):
    run, folder = trained
    slow = striate_command("predict", run, folder, "--engine", "torch", "--json")
    # torch's own engines are as many as the processor can do, and not asked for: a slow machine's time is for this one
    table = striate_command("bench", run, "--engine", "onnxruntime", "--batch", "1,8", "--budget", "300")
    assert table.code == 0
    assert "onnxruntime float32" in table.out
    assert "skipped" not in table.out
    assert "auto at batch 1: " in table.out
    script = (
        "import sys\n"
        f"sys.argv = ['striate', 'predict', {str(run)!r}, {str(folder)!r}, '--engine', 'onnxruntime', '--json', "
        "'--device', 'cpu']\n"
        "from striate.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code in (0, None), stop.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = os.environ | {"STRIATE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["predictions"]
    assert [each["classes"][0]["name"] for each in found] == [name for _, name, _ in answers(slow)]


def test_unreadable_files_stop_no_other_whatever_the_engine(trained, striate_command):
    run, folder = trained
    (folder / "99.png").write_bytes(b"no picture")
    outcome = striate_command("predict", run, folder, "--engine", "onnxruntime", "--json")
    assert outcome.code == 1
    assert len(outcome.json["predictions"]) == 40
    assert [each["reason"] for each in outcome.json["errors"]] == ["is not an image but text"]


def test_bad_wishes_are_refused_in_a_line(trained, striate_command):
    run, folder = trained
    assert "engine must be one of" in striate_command("predict", run, folder, "--engine", "tpu").refused()
    assert "--batch must be whole numbers from 1 to 4096" in striate_command("bench", run, "--batch", "0").refused()
