"""`striate explain`, `look` and `predict --explain` on small models of real files: what they write, wrong requests in
one line.
"""

import errno
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from end_to_end.conftest import write_folder
from striate.explanation import writing


@pytest.fixture
def run(striate_command, tmp_path):
    """A run folder, trained for an epoch on stripes, and the folder of its images."""
    photos = write_folder(tmp_path / "photos", {"crane bird": 10, "crane": 10})
    words = ("--epochs", 1, "--batch-size", 4, "--no-checks", "--network", "lenet5", "--run-dir", tmp_path / "run")
    assert striate_command("train", photos, *words).code == 0
    return tmp_path / "run", photos


def test_explain_look_and_predict(striate_command, run, tmp_path):
    model, photos = run
    files = sorted((photos / "crane").glob("*.png"))[:2]
    done = striate_command(
        "explain",
        model,
        *files,
        "--method",
        "saliency",
        "--method",
        "gradient_x_input",
        "--top",
        2,
        "--json",
        "--out",
        tmp_path / "e",
    )
    assert done.code == 0, done.err
    maps = done.json["maps"]
    assert len(maps) == 2 * 2 * 2
    assert {each["method"] for each in maps} == {"saliency", "gradient_x_input"}
    assert {each["class"] for each in maps} == {"crane", "crane bird"}
    for each in maps:
        assert set(each) >= {"path", "class", "method", "layer", "array", "overlay", "seconds"}
        with np.load(each["array"]) as stored:
            assert stored["map"].shape[-2:] == (32, 32)
        with Image.open(each["overlay"]) as picture:
            assert picture.size == (224, 224)
    assert len(done.json["sheets"]) == 2
    done = striate_command("explain", model, files[0], "--class", "crane", "--json")
    assert done.json["maps"][0]["layer"] in done.err
    assert Path(done.json["maps"][0]["overlay"]).parent == Path("explained")

    done = striate_command("explain", model, photos, "--curves", "--method", "saliency", "--json")
    assert [row["method"] for row in done.json["curves"]] == ["random", "edges", "saliency"]
    assert all(0 <= row["deletion_area"] <= 1 and row["num_images"] == 20 for row in done.json["curves"])
    done = striate_command(
        "explain", model, photos, "--check", "--method", "saliency", "--json", "--out", tmp_path / "c"
    )
    assert [len(each["stages"]) for each in done.json["sanity"]] == [5]
    assert Path(done.json["picture"]).is_file()

    done = striate_command("look", model, "--json", "--out", tmp_path / "l")
    assert Path(done.json["filters"]["picture"]).is_file()
    done = striate_command("look", model, files[0], "--json", "--out", tmp_path / "l")
    assert done.json["activations"]["shape"][1] > 1
    done = striate_command(
        "look", model, photos, "--near", files[0], "--map", "--top", 3, "--json", "--out", tmp_path / "l"
    )
    nearest = done.json["neighbors"][0]["nearest"]
    assert [each["name"] for each in nearest if each["distance"] == 0] == [
        "crane/000.png"
    ] * 2  # itself, in both spaces
    page = Path(done.json["map"]).read_text()
    assert not re.search(r"(?:src|href)=\"http", page)

    done = striate_command("predict", model, *files, "--explain", "saliency", "--json", "--out", tmp_path / "p")
    assert [each["class"] for each in done.json["maps"]] == [
        each["classes"][0]["name"] for each in done.json["predictions"]
    ]
    assert "What the network looked at" in (model / "report.html").read_text()


def test_units_and_patches(striate_command, tmp_path):
    photos, model = write_folder(tmp_path / "photos", {"a": 10, "b": 10}), tmp_path / "run"
    words = ("--epochs", 1, "--batch-size", 4, "--no-checks", "--network", "resnet20_cifar", "--run-dir", model)
    assert striate_command("train", photos, *words).code == 0
    done = striate_command("look", model, photos, "--unit", 0, "--top", 3, "--json", "--out", tmp_path / "l")
    assert done.code == 0, done.err
    assert done.json["units"][0]["num_images"] == 20
    (unit,) = done.json["patches"]["units"]
    assert unit["values"] == sorted(unit["values"], reverse=True)
    assert len(unit["names"]) == 3
    assert "units 0 to 63" in striate_command("look", model, photos, "--unit", 9999).refused()
    assert "look at a data set" in striate_command("look", model, "--map").refused()


def test_wrong_requests_are_one_line(striate_command, run, tmp_path, monkeypatch):
    model, photos = run
    file = photos / "crane" / "000.png"
    assert "crane" in striate_command("explain", model, file, "--class", "crana").refused()
    assert "no method is called 'gradcam'" in striate_command("explain", model, file, "--method", "gradcam").refused()
    assert "no layer called" in striate_command("explain", model, file, "--layer", "nowhere").refused()
    assert "do not exist" in striate_command("explain", model, tmp_path / "a", tmp_path / "b").refused()
    (tmp_path / "empty").mkdir()
    done = striate_command("explain", model, tmp_path / "empty")
    assert done.code == 2
    assert "holds no image files" in done.err
    (tmp_path / "broken.png").write_bytes(b"no picture")
    done = striate_command("explain", model, tmp_path / "broken.png", file, "--json")
    assert done.code == 1
    assert [Path(each["path"]).name for each in done.json["errors"]] == ["broken.png"]
    assert len(done.json["maps"]) == 1
    frames = [Image.new("RGB", (40, 50), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert striate_command("explain", model, tmp_path / "moving.gif", file).code == 0  # the first frame; another size

    def is_full(_path, _content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "write_atomically", is_full)
    assert "cannot be written: No space left on device" in striate_command("explain", model, file).refused()
