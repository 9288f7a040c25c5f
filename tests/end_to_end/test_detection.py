"""Detection end to end on pictures whose answer is known: bright rectangles on noise, none, one or several, their class
their shape.
"""

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
from striate.data.readers.sources import open_source
from striate.tasks.detection.prediction_files import writing_boxes
from striate.tasks.detection.predictions import DetectedObject, DetectedPrediction
from striate.tasks.detection.task import Detection
from striate.weights.model_file import read_header

SIZE = (64, 80)
SETTINGS = (
    "--network",
    "fcos:shufflenet_v2_x0_5",
    "--image-size",
    "64",
    "--device",
    "cpu",
    "--no-measure",
    "--no-checks",
)


def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[tuple[str, tuple[int, int, int, int]]]]:
    """A picture (64, 80, 3) with so many rectangles apart from one another: their classes ("wide", "tall") and
    boxes.
    """
    image = rng.integers(0, 60, (*SIZE, 3), np.uint8)
    objects: list[tuple[str, tuple[int, int, int, int]]] = []
    columns = rng.permutation(3)[:count]
    for column in columns:
        is_wide = bool(rng.integers(2))
        width, height = (22, 10) if is_wide else (10, 30)
        x1 = int(27 * column + rng.integers(0, 26 - width))
        y1 = int(rng.integers(0, SIZE[0] - height))
        image[y1 : y1 + height, x1 : x1 + width] = 220
        objects.append(("wide" if is_wide else "tall", (x1, y1, x1 + width, y1 + height)))
    return image, objects


def make_set(folder: Path, count: int, *, seed: int = 0) -> Path:
    """A CSV of so many pictures beside it, with 0 to 3 objects each."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "x1", "y1", "x2", "y2"])
        for number in range(count):
            image, objects = draw(rng, number % 4)
            Image.fromarray(image).save(folder / f"{number}.png")
            for label, box in objects:
                writer.writerow([f"{number}.png", label, *box])
            if not objects:
                writer.writerow([f"{number}.png", "", "", "", "", ""])
    return folder / "boxes.csv"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """The CSV of a set and the run folder of a small network trained on it."""
    folder = tmp_path_factory.mktemp("objects")
    source = make_set(folder / "train", 120)
    choices = striate.Choices(
        network="fcos:shufflenet_v2_x0_5",
        image_size=64,
        epochs=16,
        batch_size=8,
        optimizer="adamw",
        learning_rate=2e-3,
        seed=0,
    )
    os.environ["STRIATE_CACHE"] = str(folder / "cache")
    run = striate.train(source, choices, run=folder / "run", run_checks=False, measure=False, device="cpu")
    assert run.status == "finished"
    return source, run.path


def test_it_finds_what_was_drawn(trained, tmp_path, striate_command):
    """On pictures it has not seen, whose boxes are known from how they were drawn."""
    _, run = trained
    other = make_set(tmp_path / "other", 60, seed=7)
    found = striate_command("evaluate", run, other, "--json").json
    assert found["num_images"] == 60
    assert found["num_objects"] == 90
    assert found["ap50"] > 0.9
    assert found["ap"] > 0.4
    low, high = found["ap_interval"]
    assert low < found["ap"] < high
    assert {each["name"]: each["support"] for each in found["per_class"]}.keys() == {"tall", "wide"}
    assert found["ap"] == pytest.approx(np.mean([each["ap"] for each in found["per_class"]]))
    words = striate_command("evaluate", run, other).out
    assert "AP50" in words
    assert ["class", "ap", "ap50", "objects"] in [line.split() for line in words.splitlines()]
    soft = striate_command("evaluate", run, other, "--nms", "soft", "--json").json
    assert soft["ap50"] > 0.85
    assert soft["ap"] != found["ap"]
    assert "must be hard or soft" in striate_command("evaluate", run, other, "--nms", "softer").refused()


def test_predictions_in_every_form_are_read_again(trained, tmp_path, striate_command):
    """Boxes are in the pixels of the image, and CSV, COCO, YOLO and VOC files of them say what the JSON says."""
    _, run = trained
    rng = np.random.default_rng(11)
    folder = tmp_path / "new"
    (folder / "images").mkdir(parents=True)
    truths = {}
    for name, count in (("none", 0), ("one", 1), ("many", 3)):
        image, truths[name] = draw(rng, count)
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
    answers = striate_command("predict", run, folder / "images", "--out", tmp_path / "drawn", "--json").json
    by_name = {Path(each["path"]).stem: each for each in answers["predictions"]}
    for name, objects in truths.items():
        found = by_name[name]["objects"]
        assert len(objects) <= len(found) <= len(objects) + 1
        for label, box in objects:
            near = min(found, key=lambda each: np.abs(np.subtract(each["box"], box)).max())
            assert near["name"] == label
            assert np.abs(np.subtract(near["box"], box)).max() < 12  # of 80 x 64 pixels, after a short training
        with Image.open(tmp_path / "drawn" / f"{name}.png") as picture:
            assert picture.size == (80, 64)
    forms = {
        "csv": folder / "images" / "boxes.csv",
        "coco": folder / "boxes.json",
        "yolo": folder / "labels",
        "voc": folder / "voc",
    }
    for form, path in forms.items():
        striate_command("predict", run, folder / "images", "--boxes", path, "--boxes-format", form)
    (folder / "JPEGImages").symlink_to(folder / "images")
    (folder / "voc").rename(folder / "Annotations")
    (folder / "labels" / "classes.txt").rename(folder / "classes.txt")
    read = {
        "csv": open_source(forms["csv"]),
        "coco": open_source(forms["coco"]),
        "voc": open_source(folder),
    }
    (folder / "Annotations").rename(folder / "other")
    forms["coco"].unlink()
    read["yolo"] = open_source(folder)
    assert [read[form].kind for form in forms] == list(forms)
    for dataset in read.values():
        objects = dataset.objects
        scale = np.array([80, 64, 80, 64]) if objects.are_fractions else 1
        for index in range(len(dataset)):
            own = objects.of(objects.images == index)
            expected = by_name[Path(dataset.images.name(index)).stem]["objects"]
            assert [objects.class_names[label] for label in own.labels] == [each["name"] for each in expected]
            boxes = np.array([each["box"] for each in expected]).reshape(-1, 4)
            assert np.abs(own.boxes * scale - boxes).max(initial=0) < 0.02


def test_files_of_boxes_keep_images_apart_and_classes_named(tmp_path):
    """Two images of one name in two folders, and one called classes, as the list of classes is."""
    paths = [tmp_path / "one" / "a.png", tmp_path / "two" / "a.png", tmp_path / "classes.png"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    found = DetectedObject("square", 0, 0.9, (1.0, 2.0, 5.0, 6.0))
    answers = [DetectedPrediction(str(path), (8, 8), (found,)) for path in paths]
    with writing_boxes(answers, tmp_path / "found.json", "coco", ["square"]) as passing:
        assert list(passing) == answers
    names = [open_source(tmp_path / "found.json").images.name(k) for k in range(3)]
    assert names == ["one/a.png", "two/a.png", "classes.png"]
    with writing_boxes(answers, tmp_path / "labels", "yolo", ["square"]) as passing:
        assert list(passing) == answers
    assert (tmp_path / "labels" / "classes.txt").read_text() == "square\n"
    assert len(list((tmp_path / "labels").iterdir())) == 4


def test_export_holds_suppression_and_says_the_same(trained, striate_command):
    """On images without an object, with one and with several, in batches of 1, 2 and 5: the proof's own."""
    source, run = trained
    pytest.importorskip("onnxruntime")
    exported = striate_command("export", run, "--to", "onnx", "--json").json
    assert exported["proof"]["passed"]
    assert exported["about"]["output"]["rows"] == [100, 6]
    checked = striate_command("check", run, run / "exported" / "model.onnx", source.parent, "--json").json
    assert checked["passed"]
    assert checked["batch_sizes"] == [1, 2, 5]
    image = source.parent / "3.png"
    plain = striate_command("predict", run, image, "--json").json["predictions"][0]["objects"]
    by_engine = striate_command("predict", run, image, "--engine", "onnxruntime", "--json").json["predictions"][0][
        "objects"
    ]
    assert len(plain) == len(by_engine) == 3
    for one, other in zip(plain, by_engine, strict=True):
        assert one["name"] == other["name"]
        assert np.abs(np.subtract(one["box"], other["box"])).max() < 0.05


def test_the_model_file_says_its_task_and_network(trained):
    _, run = trained
    about, _ = read_header(run / "model.safetensors")
    assert (about.task, about.network, about.config["num_classes"]) == ("detection", "fcos:shufflenet_v2_x0_5", 2)
    assert striate.load_model(run).task == Detection(("tall", "wide"))


def test_the_report_shows_mistakes_by_kind(trained):
    _, run = trained
    page = (run / "report.html").read_text()
    for words in ("average precision", "Mistakes by kind", "background", "tall"):
        assert words in page


def test_other_tools_say_what_they_are_for(trained, tmp_path, striate_command):
    source, run = trained
    assert "calibration is for classifiers" in striate_command("calibrate", run).refused()
    assert "--boxes PATH" in striate_command("predict", run, source.parent, "--csv", tmp_path / "a.csv").refused()
    assert (
        "does not tell its format"
        in striate_command("predict", run, source.parent, "--boxes", tmp_path / "a").refused()
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--network", "resnet20_cifar"), "has no feature map with a stride of"),
        (("--network", "fcos:lenet5"), "lenet5"),
        (("--mixup", "0.2"), "images cannot be mixed in detection"),
        (("--loss", "l2"), "the loss of detection must be"),
    ],
)
def test_what_does_not_fit_is_refused(words, line, tmp_path, striate_command):
    source = make_set(tmp_path / "set", 20)
    assert line in striate_command("train", source, *SETTINGS, *words).refused()


def test_a_source_without_boxes_and_a_model_of_another_task(trained, tmp_path, striate_command):
    _, run = trained
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(np.full((32, 32, 3), 9 * number, np.uint8)).save(tmp_path / "set" / name / f"{number}.png")
    assert "it has no boxes" in striate_command("train", tmp_path / "set", "--task", "detection").refused()
    assert "it has no boxes" in striate_command("evaluate", run, tmp_path / "set").refused()
    other = make_set(tmp_path / "other", 8)
    other.write_text(other.read_text().replace("wide", "broad"))
    assert "'broad'" in striate_command("evaluate", run, other).refused()


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    """Killed between two updates and resumed, the weights are those of the run that was never killed; each in a process
    of its own.
    """
    source = make_set(tmp_path / "set", 40)
    words = ("train", source, *SETTINGS, "--task", "detection", "--epochs", "3", "--batch-size", "4", "--threads", "1")

    def run_alone(*words: str | Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "striate", *map(str, words)], check=True, capture_output=True, timeout=120
        )

    run_alone(*words, "--run", tmp_path / "whole")
    script = (
        "import os, signal, sys\n"
        "from striate.training.session import Session\n"
        "update = Session._update\n"
        "def dying(self, parts):\n"
        "    update(self, parts)\n"
        "    if self.state.progress.step == 11:\n"
        "        self._save()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "Session._update = dying\n"
        "from striate.cli.app import main\n"
        "main()\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, *map(str, words), "--run", str(tmp_path / "killed")],
        capture_output=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run_alone("train", "--resume", tmp_path / "killed")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    figures = [json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("whole", "killed")]
    assert figures[0]["ap"] == figures[1]["ap"]
