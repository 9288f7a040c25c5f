"""Localisation end to end on pictures whose answer is known: a bright rectangle on noise, its class its shape."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import striate
from striate.data.objects import settle
from striate.data.readers.sources import open_source
from striate.errors import InputError
from striate.tasks.localization.task import Localization
from striate.weights.model_file import read_header

SIZE = (48, 64)
NETWORK = ("--network", "lenet5", "--image-size", "32")


def draw(rng: np.random.Generator) -> tuple[np.ndarray, str, tuple[int, int, int, int]]:
    """A picture (48, 64, 3), its class ("wide" or "tall") and the box of its rectangle."""
    image = rng.integers(0, 60, (*SIZE, 3), np.uint8)
    is_wide = bool(rng.integers(2))
    width, height = (
        (rng.integers(24, 32), rng.integers(10, 14)) if is_wide else (rng.integers(12, 16), rng.integers(24, 32))
    )
    x1, y1 = rng.integers(0, SIZE[1] - width), rng.integers(0, SIZE[0] - height)
    image[y1 : y1 + height, x1 : x1 + width] = 220
    return image, "wide" if is_wide else "tall", (int(x1), int(y1), int(x1 + width), int(y1 + height))


def make_set(folder: Path, count: int, *, seed: int = 0, is_single: bool = False) -> Path:
    """A CSV of so many pictures beside it."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "x1", "y1", "x2", "y2"])
        for number in range(count):
            image, label, box = draw(rng)
            Image.fromarray(image).save(folder / f"{number}.png")
            writer.writerow([f"{number}.png", "thing" if is_single else label, *box])
    return folder / "boxes.csv"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """The CSV of a set and the run folder of a small network trained on it."""
    folder = tmp_path_factory.mktemp("boxes")
    source = make_set(folder / "train", 500)
    choices = striate.Choices(
        network="lenet5",
        image_size=32,
        epochs=25,
        batch_size=32,
        optimizer="adam",
        learning_rate=2e-3,
        seed=0,
        flip=False,
    )
    os.environ["STRIATE_CACHE"] = str(folder / "cache")
    run = striate.train(source, choices, run=folder / "run", run_checks=True, measure=False, device="cpu")
    assert run.status == "finished"
    return source, run.path


def test_it_finds_what_was_drawn(trained, tmp_path, striate_command):
    """On pictures it has not seen, whose boxes are known from how they were drawn."""
    _, run = trained
    other = make_set(tmp_path / "other", 120, seed=7)
    found = striate_command("evaluate", run, other, "--json").json
    assert found["num_images"] == 120
    assert found["top1_accuracy"] > 0.9
    assert found["mean_iou"] > 0.6
    low, high = found["mean_iou_interval"]
    assert low < found["mean_iou"] < high
    assert found["localization_accuracy"] <= min(found["top1_accuracy"], found["box_accuracy"])


def test_predicted_boxes_are_in_the_pixels_of_the_image(trained, tmp_path, striate_command):
    """The same scene twice as large gives the same box twice as large, and the overlay is of the image's own size."""
    _, run = trained
    image, _, box = draw(np.random.default_rng(11))
    Image.fromarray(image).save(tmp_path / "small.png")
    Image.fromarray(image).resize((128, 96), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    answers = striate_command(
        "predict", run, tmp_path / "small.png", tmp_path / "large.png", "--out", tmp_path / "drawn", "--json"
    ).json
    small, large = (np.array(each["box"]) for each in answers["predictions"])
    assert np.abs(large - 2 * small).max() < 4
    assert np.abs(small - np.array(box)).max() < 12
    for name, size in (("small.png", (64, 48)), ("large.png", (128, 96))):
        with Image.open(tmp_path / "drawn" / name) as picture:
            assert picture.size == size
            assert (230, 97, 0) in {colour for _, colour in picture.getcolors(100_000)}  # the box's own colour


def test_the_model_file_says_its_task(trained):
    _, run = trained
    about, _ = read_header(run / "model.safetensors")
    assert (about.task, about.task_settings, about.config["num_classes"]) == ("localization", {"loss": "l2"}, 6)
    model = striate.load_model(run)
    assert model.task == Localization(("tall", "wide"))
    header = (run / "model.safetensors").read_bytes()[:4000]
    assert b'\\"version\\": 3' in header


def test_export_gives_the_same_boxes(trained, striate_command):
    _, run = trained
    pytest.importorskip("onnxruntime")
    exported = striate_command("export", run, "--to", "onnx", "--json").json
    assert exported["proof"]["passed"]
    assert exported["about"]["output"]["columns"] == {"probabilities": [0, 2], "box_xyxy": [2, 6]}


def test_the_report_shows_boxes(trained):
    _, run = trained
    page = (run / "report.html").read_text()
    assert "mean IoU" in page
    assert "Can its certainty be trusted" not in page


def test_other_tools_say_that_they_are_for_classifiers(trained, striate_command):
    _, run = trained
    assert "calibration is for classifiers" in striate_command("calibrate", run).refused()
    assert "averaged in classification only" in striate_command("evaluate", run, "--average", "mirror").refused()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--loss", "l3"), "the loss of localization must be l2 or smooth_l1 or giou but is 'l3'"),
        (("--mixup", "0.2"), "images cannot be mixed in localization"),
        (("--class-weights",), "class weights are for classification"),
        (("--task", "locate"), "but is 'locate'"),
        (("--output", "sigmoid"), "a single sigmoid output tells two classes apart but the task is localization"),
    ],
)
def test_what_does_not_fit_is_refused(words, line, tmp_path, striate_command):
    source = make_set(tmp_path / "set", 30)
    assert line in striate_command("train", source, *NETWORK, *words).refused()


def test_a_source_without_boxes_cannot_serve(striate_command):
    assert "it has no boxes" in striate_command("train", "digits", "--task", "localization").refused()


def test_a_single_class_needs_four_outputs_and_boxes_can_be_left_aside(tmp_path, striate_command):
    source = make_set(tmp_path / "single", 40, is_single=True)
    words = (*NETWORK, "--epochs", 1, "--no-checks", "--no-measure", "--json")
    for loss in ("l2", "smooth_l1", "giou"):
        done = striate_command("train", source, *words, "--loss", loss, "--run", tmp_path / loss)
        assert done.code == 0, done.err
        assert done.json["evaluation"]["top1_accuracy"] == 1
        assert read_header(tmp_path / loss / "model.safetensors")[0].config["num_classes"] == 4
    assert "one class only" in striate_command("train", source, "--task", "classification", *words).refused()


def run_striate(folder: Path, *words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    surroundings = os.environ | {
        "STRIATE_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    command = [sys.executable, "-m", "striate", *map(str, words)]
    return subprocess.run(
        command, cwd=folder, env=surroundings | (env or {}), capture_output=True, text=True, timeout=200
    )


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def test_a_run_that_is_stopped_goes_on_bit_for_bit(tmp_path):
    source = make_set(tmp_path / "set", 60)
    words = (
        "train",
        source,
        *NETWORK,
        "--epochs",
        4,
        "--batch-size",
        8,
        "--no-checks",
        "--no-measure",
        "--device",
        "cpu",
        "--schedule",
        "constant",
    )
    whole = run_striate(tmp_path, *words, "--run", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    code = (
        "import os, signal, sys\n"
        "from striate.training import session\n"
        "real = session.Session._count\n"
        "seen = []\n"
        "def count(self, result):\n"
        "    real(self, result)\n"
        "    seen.append(1)\n"
        f"    if len(seen) == 9: os.kill(os.getpid(), {int(signal.SIGINT)})\n"
        "session.Session._count = count\n"
        f"sys.argv = {['striate', *map(str, words), '--run', str(tmp_path / 'halted')]!r}\n"
        "from striate.cli.app import main\n"
        "main()\n"
    )
    surroundings = os.environ | {"STRIATE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    halted = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=200
    )
    assert halted.returncode == 1, halted.stderr
    assert run_striate(tmp_path, "train", "--resume", tmp_path / "halted").returncode == 0
    ours, theirs = weights_of(tmp_path / "whole"), weights_of(tmp_path / "halted")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    figures = [json.loads((tmp_path / run / "evaluation.json").read_text()) for run in ("whole", "halted")]
    assert figures[0] == figures[1]


@pytest.mark.exhaustive
def test_two_processes_train_what_one_does(tmp_path):
    source = make_set(tmp_path / "set", 60)
    words = (
        "train",
        source,
        *NETWORK,
        "--epochs",
        2,
        "--batch-size",
        8,
        "--no-checks",
        "--no-measure",
        "--device",
        "cpu",
    )
    for run, devices in (("one", ()), ("two", ("--devices", 2))):
        done = run_striate(tmp_path, *words, "--run", tmp_path / run, *devices)
        assert done.returncode == 0, done.stderr
    records = [
        [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("one", "two")
    ]
    for one, two in zip(*records, strict=True):
        assert one["validation_loss"] == pytest.approx(two["validation_loss"], rel=1e-4)
        assert one["validation_mean_iou"] == pytest.approx(two["validation_mean_iou"], abs=1e-4)
        assert one["train_localization_accuracy"] == two["train_localization_accuracy"]


def test_voc_folders_of_real_cells(shared_data):
    dataset = open_source(shared_data / "bccd")
    assert len(dataset) == 292
    assert set(dataset.class_names) <= {"RBC", "WBC", "Platelets"}
    _, flaws = settle(dataset.objects, np.full((len(dataset), 2), (480, 640)), dataset.images.name)
    assert [flaw.split(".jpg, ")[1] for flaw in flaws] == [
        "object 13: no area, left out",
        "object 4: no area, left out",
    ]
    task = Localization(dataset.class_names)
    annotations = task.annotations(dataset)
    assert (annotations.sizes == (480, 640)).all()
    assert (dataset.given_splits >= 0).all()
    with pytest.raises(InputError, match="the loss of localization must be"):
        Localization(dataset.class_names, loss="l1")
