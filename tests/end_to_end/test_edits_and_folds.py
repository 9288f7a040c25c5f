"""Images left out, labels changed, groups kept whole, and cross-validation, from the command line on real digits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import striate
from striate.recipes.folds import read_folds
from striate.tasks.model import load_model

WRITER = r"/w(\d+)_"
QUICK = ("--network", "digitnet", "--epochs", "2", "--no-robustness", "--no-checks", "--no-measure")


@pytest.fixture
def photos(tmp_path) -> Path:
    """150 real digits by class, five by each of 30 "writers" in their file names."""
    digits = load_digits()
    for number in range(150):
        path = tmp_path / "photos" / str(digits.target[number]) / f"w{number // 5:02}_{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).resize((28, 28)).save(path)
    return tmp_path / "photos"


def writers(names: list[str]) -> set[str]:
    return {name.split("/w")[1][:2] for name in names}


def test_a_run_leaves_out_relabels_and_keeps_groups_whole(photos, tmp_path, striate_command):
    """And evaluate and resume do as the run did, without being told again."""
    names = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
    left_out, relabelled = names[0], next(name for name in names if name.startswith("1/"))
    (tmp_path / "out.txt").write_text(f"# blurred\nphotos/{left_out}\n")
    (tmp_path / "labels.csv").write_text(f"path,label\n{relabelled},7\n")
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    asked = ("--exclude", "out.txt", "--labels", "labels.csv", "--group-by", WRITER)
    done = striate_command("train", "photos", "--run", "r", *QUICK, *asked)
    assert done.code == 0, done.err
    assert f"left out 1 of 150 images, as asked: {left_out}" in done.err
    assert "1 label of 150 changed, as asked" in done.err
    splits = json.loads(Path("r/splits.json").read_text())
    parts = {name: [str(each) for each in splits[name]] for name in ("train", "validation", "test")}
    everything = [name for part in parts.values() for name in part]
    assert sorted(everything) == [name for name in names if name != left_out]
    assert writers(parts["test"]).isdisjoint(writers(parts["train"]) | writers(parts["validation"]))
    assert writers(parts["train"]).isdisjoint(writers(parts["validation"]))
    again = striate_command("evaluate", "r", "--group-by", WRITER, "--json").json
    stored = json.loads(Path("r/evaluation.json").read_text())
    assert again["num_images"] == stored["num_images"] == len(parts["test"])
    assert again["top1_accuracy"] == stored["top1_accuracy"]
    assert {group["name"] for group in again["groups"]} == writers(parts["test"])
    assert sum(group["num_images"] for group in again["groups"]) == again["num_images"]
    right = sum(round(group["accuracy"] * group["num_images"]) for group in again["groups"])
    assert right == round(again["top1_accuracy"] * again["num_images"])
    assert before == {path: path.read_bytes() for path in photos.rglob("*.png")}
    provenance = json.dumps(load_model(Path("r")).provenance)
    assert left_out in provenance
    assert relabelled in provenance


def test_folds_are_runs_that_test_every_image_once_and_go_on_after_a_kill(photos, striate_command):
    done = striate_command("train", "photos", "--folds", "3", "--run", "cv", "--group-by", WRITER, *QUICK, "--json")
    found = done.json
    assert found["status"] == "finished"
    tested = [json.loads(Path(f"cv/fold-{fold}/splits.json").read_text())["test"] for fold in (1, 2, 3)]
    assert sorted(name for part in tested for name in part) == sorted(
        str(path.relative_to(photos)) for path in photos.rglob("*.png")
    )
    assert all(writers(tested[a]).isdisjoint(writers(tested[b])) for a, b in ((0, 1), (0, 2), (1, 2)))
    scores = [json.loads(Path(f"cv/fold-{fold}/evaluation.json").read_text())["top1_accuracy"] for fold in (1, 2, 3)]
    assert found["mean"] == pytest.approx(np.mean(scores))
    assert found["spread"] == pytest.approx(np.std(scores, ddof=1))
    right = sum(round(score * len(part)) for score, part in zip(scores, tested, strict=True))
    assert found["pooled"] == pytest.approx(right / 150)
    page = Path("cv/report.html").read_text()
    assert "fold" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    first = Path("cv/fold-1/model.safetensors").read_bytes()
    second = Path("cv/fold-2/evaluation.json").read_bytes()
    shutil.rmtree("cv/fold-2")  # as if it had been killed before it wrote anything
    resumed = striate_command("train", "--resume", "cv", "--json").json
    assert resumed["folds"] == found["folds"] or [row["score"] for row in resumed["folds"]] == scores
    assert Path("cv/fold-1/model.safetensors").read_bytes() == first
    assert json.loads(Path("cv/fold-2/evaluation.json").read_text())["confusion"] == json.loads(second)["confusion"]


@pytest.mark.usefixtures("photos")
def test_what_cannot_be_done_is_refused(striate_command):
    Path("empty.txt").write_text("\n")
    for words, says in (
        (("--folds", "40"), "cannot make 40 parts|too few"),
        (("--folds", "2", "--dry-run"), "leave --find-rate"),
        (("--dry-run", "--verify"), "--dry-run and --verify each tell something instead of training"),
        (("--exclude", "empty.txt"), "lists no images"),
        (("--exclude", "none.txt"), "cannot be read"),
        (("--group-by", "(x"), "pattern"),
    ):
        asked = ("--group-by", WRITER) if words[0] == "--folds" else ()
        line = striate_command("train", "photos", *QUICK, *words, *asked).refused()
        assert any(each in line for each in says.split("|")), line
    with pytest.raises(striate.RunError, match="no cross-validation"):
        read_folds(Path("photos"))
