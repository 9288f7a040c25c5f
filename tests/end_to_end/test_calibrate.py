"""`striate calibrate` from the command line: a run is calibrated afterwards, wherever it predicts."""

import json
import shutil

import numpy as np
import onnxruntime
import pytest
import torch

import striate
from end_to_end.conftest import write_folder


@pytest.fixture
def run(striate_command, tmp_path):
    """A run that has seen the digits once: it has much to learn, and label smoothing has made it modest."""
    words = ("--network", "lenet5", "--epochs", 2, "--learning-rate", 0.05, "--no-checks")
    done = striate_command("train", "digits", "--run", tmp_path / "run", *words)
    assert done.code == 0, done.err
    return tmp_path / "run"


def test_a_run_is_calibrated_in_its_place(run, striate_command):
    before = striate.load_model(run)
    figures_before = json.loads((run / "evaluation.json").read_text())
    done = striate_command("calibrate", run)
    assert done.code == 0, done.err
    assert "from 180 images of the validation part of digits" in done.out.replace("\n", " ")
    after, figures = striate.load_model(run), json.loads((run / "evaluation.json").read_text())
    assert before.temperature == 1.0
    assert after.temperature == figures["temperature"] != 1.0
    assert figures_before["temperature"] == 1.0
    assert f"temperature {after.temperature:.3f}" in done.out.replace("\n", " ")
    for key in ("top1_accuracy", "confusion", "split"):
        assert figures[key] == figures_before[key]
    assert figures["negative_log_likelihood"] < figures_before["negative_log_likelihood"]
    assert all(torch.equal(*pair) for pair in zip(before.network.parameters(), after.network.parameters(), strict=True))
    report = (run / "report.html").read_text()
    assert "divided by a temperature of" in report

    evaluated = striate_command("evaluate", run, "--json").json
    assert evaluated["temperature"] == after.temperature
    assert evaluated["calibration_error"] == pytest.approx(figures["calibration_error"])
    assert "by striate calibrate" in striate_command("evaluate", run).out

    done = striate_command("export", run, "--to", "onnx")
    assert done.code == 0, done.out + done.err
    beside = json.loads((run / "exported" / "model.onnx.json").read_text())
    assert beside["about"]["temperature"] == after.temperature
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), np.uint8)
    (exported,) = onnxruntime.InferenceSession(run / "exported" / "model.onnx").run(None, {"images": image})
    pixels = after.preprocessing.to_pixels(image[0])[None].copy()
    np.testing.assert_allclose(exported, after.run(pixels), atol=1e-5)
    logits = torch.from_numpy(before.run(pixels)).log()
    np.testing.assert_allclose(exported, (logits / after.temperature).softmax(1), atol=1e-5)
    assert striate.predict(run, image[0]).predictions[0].classes[0].probability == pytest.approx(
        exported.max(), abs=1e-5
    )

    again = striate_command("train", "--resume", run, "--json")  # the run stays as it is, with these figures
    assert again.code == 0, again.err
    assert striate.load_model(run).temperature == after.temperature
    assert json.loads((run / "evaluation.json").read_text()) == figures


def test_another_file_is_written_on_request(run, striate_command, tmp_path):
    bytes_before = (run / "model.safetensors").read_bytes()
    found = striate_command("calibrate", run, "--out", tmp_path / "calibrated.safetensors", "--json")
    assert found.code == 0, found.err
    assert (run / "model.safetensors").read_bytes() == bytes_before
    assert striate.load_model(tmp_path / "calibrated.safetensors").temperature == found.json["temperature"]
    fit = found.json["fit"]
    assert fit["after"]["negative_log_likelihood"] < fit["before"]["negative_log_likelihood"]
    low, high = fit["interval"]
    assert low < fit["temperature"] == found.json["temperature"] < high < fit["temperature_before"]
    assert found.json["test"]["before"]["calibration_error"] > 0
    assert found.json["report"] is None


def test_a_temperature_by_hand_and_undone(run, striate_command):
    as_trained = (run / "model.safetensors").read_bytes()
    figures = json.loads((run / "evaluation.json").read_text())
    done = striate_command("calibrate", run, "--temperature", 2.5)
    assert done.code == 0, done.err
    assert striate.load_model(run).temperature == 2.5
    assert (
        json.loads((run / "evaluation.json").read_text())["negative_log_likelihood"]
        > figures["negative_log_likelihood"]
    )
    assert striate_command("calibrate", run, "--temperature", 1).code == 0
    assert (run / "model.safetensors").read_bytes() == as_trained
    assert json.loads((run / "evaluation.json").read_text()) == figures


def test_where_images_ask_for_nothing_else_nothing_is_written(run, striate_command):
    assert striate_command("calibrate", run).code == 0
    there = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    again = striate_command("calibrate", run)
    assert again.code == 0
    assert "nothing was changed: these images ask for no other temperature" in again.out.replace("\n", " ")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == there


def test_what_cannot_be(run, striate_command, tmp_path):
    bytes_before = (run / "model.safetensors").read_bytes()
    assert (
        "that the model was trained on, of which it is too sure; use validation"
        in striate_command("calibrate", run, "--split", "train").refused()
    )
    assert "is a folder; name the file" in striate_command("calibrate", run, "--out", tmp_path).refused()
    assert (
        "temperature must lie in [0.01, 100] but is 0"
        in striate_command("calibrate", run, "--temperature", 0).refused()
    )
    assert "is neither a file or folder nor a network" in striate_command("calibrate", "nothing").refused()
    assert (run / "model.safetensors").read_bytes() == bytes_before


def test_a_run_whose_own_images_are_gone_is_calibrated_on_others(striate_command, stripes, tmp_path):
    words = ("--run", tmp_path / "run", "--network", "lenet5", "--epochs", 1, "--batch-size", 8, "--no-checks")
    assert striate_command("train", stripes, *words).code == 0
    evaluation = (tmp_path / "run" / "evaluation.json").read_bytes()
    stripes.rename(tmp_path / "elsewhere")
    done = striate_command("calibrate", tmp_path / "run", "--temperature", 2)
    assert done.code == 0, done.err
    assert "the run's figures and report stay as they were: the images of" in done.err.replace("\n", " ")
    assert striate.load_model(tmp_path / "run").temperature == 2
    assert (tmp_path / "run" / "evaluation.json").read_bytes() == evaluation


@pytest.fixture
def photos_run(striate_command, tmp_path):
    """A run on a folder, trained for so short a time that it makes mistakes."""
    write_folder(tmp_path / "photos", {"across": 60, "along": 60}, channels=1)
    done = striate_command(
        "train", tmp_path / "photos", "--run", tmp_path / "run", "--network", "lenet5", "--epochs", 1, "--no-checks",
        "--learning-rate", 1e-6,
    )  # fmt: skip
    assert done.code == 0, done.err
    return tmp_path / "run"


def test_training_images_under_another_path_are_found_by_their_bytes(photos_run, striate_command, tmp_path):
    names = json.loads((photos_run / "splits.json").read_text())
    for part in ("train", "test"):
        for name in names[part]:
            to = tmp_path / part / name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / "photos" / name, to)
    trained = len(names["train"])
    evaluated = striate_command("evaluate", photos_run, tmp_path / "train")
    assert evaluated.code == 0
    assert (
        f"{trained} of {trained} images of {tmp_path / 'train'} (all) are among those that the model was trained on"
        in evaluated.err
    )
    refused = striate_command("calibrate", photos_run, tmp_path / "train").refused()
    assert f"{trained} of {trained} images" in refused
    assert "name images that it has not seen" in refused
    other = striate_command("evaluate", photos_run / "model.safetensors", tmp_path / "test")
    assert "trained on" not in other.err


def test_calibrating_is_undone_and_exports_made_before_are_told(run, striate_command):
    assert striate_command("export", run, "--to", "onnx").code == 0
    exported = run / "exported" / "model.onnx"
    calibrated = striate_command("calibrate", run, "--temperature", 2)
    assert (
        f"{exported} still answers at the temperature before; again: striate export {run} --to onnx" in calibrated.err
    )
    checked = striate_command("check", run, exported)
    assert checked.code == 1
    assert "it was made at temperature 1.0, and the model's is 2 now; export it again" in checked.out
    assert "1 and 2" in checked.out
    undone = striate_command("calibrate", run, "--temperature", 1)
    assert "still answers" not in undone.err
    assert striate.load_model(run).temperature == 1
    assert striate_command("check", run, exported).code == 0
