"""What people do in their first hour, beside the main job: predictions as files, lists of runs, the cache."""

import csv
import functools
import json
import shlex

import numpy as np
import pytest
from PIL import Image

from striate.recipes.choices import Choices

QUICK = ("--network", "lenet5", "--epochs", 1, "--no-checks", "--no-measure", "--batch-size", 8)


@pytest.fixture
def run(striate_command, stripes, tmp_path):
    assert striate_command("train", stripes, "--run", tmp_path / "runs" / "one", *QUICK).code == 0
    return tmp_path / "runs" / "one"


def test_predictions_go_to_a_table_and_to_folders_and_the_doubtful_are_shown(run, striate_command, stripes, tmp_path):
    (stripes / "along" / "broken.png").write_text("junk")
    done = striate_command(
        "predict", run, stripes, "--csv", "out.csv", "--sort-into", "sorted", "--uncertain", 3, "--json"
    )
    assert done.code == 1
    assert "wrote out.csv" in done.err
    shown = done.json["predictions"]
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert len(rows) == 41
    (broken,) = (row for row in rows if row["error"])
    assert broken["path"].endswith("broken.png")
    by_doubt = sorted((row for row in rows if not row["error"]), key=lambda row: float(row["probability"]))
    assert {guess["path"] for guess in shown} == {row["path"] for row in by_doubt[:3]}
    for row in rows:
        if not row["error"]:
            assert list(
                (tmp_path / "sorted" / row["class"]).glob(row["path"].rpartition("/")[2].replace(".png", "*.png"))
            )
    assert len(list((tmp_path / "sorted").rglob("*.png"))) == 40
    again = striate_command("predict", run, stripes, "--sort-into", "sorted").refused()
    assert "is not an empty folder" in again
    assert "--sort-into DIR" in striate_command("predict", run, stripes, "--links").refused()


def test_runs_are_listed_and_compared(run, striate_command, stripes, tmp_path):
    assert "there is no folder nowhere" in striate_command("runs", "nowhere").refused()
    assert striate_command("train", stripes, "--run", tmp_path / "runs" / "two", *QUICK, "--seed", 1).code == 0
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / "run.json").write_text("[")
    listed = striate_command("runs", "--json").json
    assert {row["path"] for row in listed["runs"]} == {"runs/one", "runs/two"}
    assert [row["path"] for row in listed["damaged"]] == ["runs/bad"]
    figures = json.loads((run / "evaluation.json").read_text())
    (row,) = (row for row in listed["runs"] if row["path"] == "runs/one")
    assert (row["accuracy"], row["split"]) == (figures["top1_accuracy"], "test")
    shown = striate_command("runs")
    assert shown.code == 0
    assert "runs/one" in shown.out
    assert "bad" in shown.err
    compared = striate_command("runs", "runs/one", "runs/two", "--json").json
    assert compared["differing"]["recipe.seed"] == {"first": 0, "second": 1}
    assert "recipe.seed" in striate_command("runs", "runs/one", "runs/two").out


def test_the_cache_is_shown_and_emptied(run, striate_command, tmp_path):
    shown = striate_command("cache", "--json").json
    assert shown["folder"] == str(tmp_path / "cache")
    assert "packs" in {entry["kind"] for entry in shown["entries"]}
    assert "decoded images" in striate_command("cache").out
    assert striate_command("cache", "--empty", "all", "--json").json["freed_bytes"] > 0
    assert "empty" in striate_command("cache").out
    assert striate_command("evaluate", run).code == 0


def test_older_spellings_of_flags_still_work_and_are_not_shown(striate_command, stripes, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    shown = striate_command("train", "--help").out
    assert "--freeze" not in shown
    assert "--train" in shown
    assert "float32|bfloat16|float16" in shown
    for place, words in enumerate((("--train", "head"), ("--freeze", "base"))):
        run = tmp_path / f"run{place}"
        done = striate_command(
            "train", stripes, "--run-dir" if place else "--run", run, *QUICK, *words, "--precision", "float32"
        )
        assert done.code == 0, done.err
        recipe = json.loads((run / "run.json").read_text())["recipe"]
        assert (recipe["freeze"], recipe["precision"]) == ("base", "32-true")
    assert "give one of them" in striate_command("train", stripes, "--train", "head", "--freeze", "base").refused()
    assert (
        "must be one of all, head, last-third, gradual"
        in striate_command("train", stripes, "--train", "base").refused()
    )
    for flag in ("--out", "--output"):
        done = striate_command("export", tmp_path / "run0", "--to", "torch", flag, tmp_path / f"{flag}.pt2", "--json")
        assert done.json["path"] == str(tmp_path / f"{flag}.pt2")


def test_the_demo_ends_with_expected_and_predicted_and_what_to_do_next(striate_command, monkeypatch, tmp_path):
    from striate.recipes import train as recipe

    monkeypatch.setattr(recipe, "train", functools.partial(recipe.train, choices=Choices(epochs=1), measure=False))
    shown = striate_command("demo", "--run", "demo")
    assert shown.code == 0, shown.err
    assert "expected" in shown.out
    assert f"open the report: {tmp_path / 'demo' / 'report.html'}" in shown.out
    steps = shown.out.split("next:")[1].split("\n")[1:4]
    for step in steps:
        words = shlex.split(step.split("#")[0].replace("PHOTOS", "digits"))
        assert words[0] == "striate"
        extra = ["--dry-run"] if words[1] == "train" else []
        assert striate_command(*words[1:], *extra).code == 0
    samples = sorted((tmp_path / "demo" / "samples").iterdir())
    assert len(samples) == 5


def test_messages_help_with_what_was_probably_meant(striate_command, stripes):
    refused = striate_command("data", "stripse").refused()
    assert "there is no file or folder stripse; did you mean stripes?" in refused
    assert "is a URL, and striate fetches none" in striate_command("train", "https://example.com/photos.zip").refused()
    unknown = striate_command("describe", "no_such_thing").refused()
    assert "see striate networks" in unknown
    assert len(unknown) < 120
    for name in ("a.heic", "b.HEIC", "c.txt", "d.heic"):
        (stripes / "along" / name).touch()
    shown = striate_command("data", stripes).out
    assert "passed over, not images by their ending: 4 (" in shown
    assert "3 .heic, 1 .txt; .heic: convert to JPEG first" in shown
    listed = striate_command("networks", "--sort", "error")
    assert " on " in listed.out.splitlines()[0]
    assert "MNIST" in listed.out.splitlines()[1]


def test_a_misspelt_command_or_network_and_a_file_in_the_way_are_told_at_once(striate_command, stripes, tmp_path):
    assert striate_command("trian", stripes).refused().endswith("Did you mean 'train'? See striate --help")
    assert "see striate train --help" in striate_command("train", stripes, "--epoch", 1).refused()
    done = striate_command("train", stripes, "--network", "rasnet18")
    assert "did you mean resnet18" in done.refused()
    assert "packing" not in done.err
    (tmp_path / "afile").write_text("in the way")
    assert "afile is a file, so no run folder" in striate_command("train", stripes, "--run", "afile/x").refused()
    assert "afile is a file, and a run is a folder" in striate_command("train", stripes, "--run", "afile").refused()


def test_labels_are_not_called_wrong_by_features_that_hardly_tell_classes_apart(striate_command, tmp_path):
    rng = np.random.default_rng(0)
    for place in range(60):
        folder = tmp_path / "noise" / "ab"[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{place}.png")
    done = striate_command("errors", tmp_path / "noise")
    assert "32 x 32 pixels of images tell the classes apart poorly" in done.err
