"""One walk for every command: what it follows, what it passes over, and that it ends."""

import os
from pathlib import Path

import pytest

from striate.data.readers import folder_walk
from striate.data.readers.folder import read_folder
from striate.data.readers.folder_walk import SYSTEM_NAMES, Findings, walk_files
from striate.errors import DataError
from striate.tasks.predictions import name_images

posix = pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")


def make(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def walked(root: Path, below: str = "") -> tuple[list[str], tuple[str, ...]]:
    findings = Findings()
    return list(walk_files(root, below, findings)), findings.notices()


def test_files_come_in_the_order_of_names(tmp_path):
    make(tmp_path, "b/2.png", "a/z.txt", "c.png", "b/1.png")
    assert walked(tmp_path) == (["a/z.txt", "b/1.png", "b/2.png", "c.png"], ())
    assert walked(tmp_path, "b") == (["b/1.png", "b/2.png"], ())


@pytest.mark.parametrize("name", [*sorted(SYSTEM_NAMES - {"icon\r"}), "@eaDir", "$RECYCLE.BIN", ".Trash", ".@__thumb"])
def test_what_systems_leave_behind_is_data_for_nobody_and_told(tmp_path, name):
    make(tmp_path, "cat/1.png", "dog/2.png", f"cat/{name}/1.png", f"{name}/x.png")
    files, notices = walked(tmp_path)
    assert files == ["cat/1.png", "dog/2.png"]
    assert notices == (f"passed over, hidden or left behind by a system: 2 ({name}, cat/{name})",) or name > "cat"
    assert notices[0].startswith("passed over, hidden or left behind by a system: 2 (")
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert any(name in notice for notice in dataset.notices)


def test_hidden_files_that_are_no_images_are_not_worth_a_word(tmp_path):
    assert walked(make(tmp_path, "a/.DS_Store", "a/1.png")) == (["a/1.png"], ())


@posix
def test_circles_are_named_and_the_rest_is_used(tmp_path):
    make(tmp_path / "above" / "photos", "cat/1.png", "dog/2.png")
    photos = tmp_path / "above" / "photos"
    (photos / "cat" / "again").symlink_to(photos)
    (photos / "cat" / "up").symlink_to(tmp_path / "above")
    (photos / "dog" / "self").symlink_to(photos / "dog" / "self")
    files, notices = walked(photos)
    assert files == ["cat/1.png", "dog/2.png"]
    assert notices == (
        "links that lead nowhere: 1 (dog/self)",
        "links that lead back to a folder above them, not followed: 2 (cat/again, cat/up)",
    )


@posix
def test_links_to_links_to_links_end(tmp_path):
    """Thirty folders with two links each to the next would be a thousand million ways down."""
    for level in range(30):
        (tmp_path / "levels" / str(level)).mkdir(parents=True)
    for level in range(29):
        for name in ("left", "right"):
            (tmp_path / "levels" / str(level) / name).symlink_to(tmp_path / "levels" / str(level + 1))
    make(tmp_path, "levels/29/1.png")
    files, notices = walked(tmp_path / "levels" / "0")
    assert 1 <= len(files) <= folder_walk._MOST_VISITS
    assert notices[0].startswith("folders that more than 16 links lead to, passed over from then on: ")


@posix
def test_links_that_lead_nowhere_are_named(tmp_path):
    make(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "bird").symlink_to(tmp_path / "gone")
    (tmp_path / "cat" / "kittens").symlink_to("nowhere")
    (tmp_path / "cat" / "3.png").symlink_to("nowhere.png")
    files, notices = walked(tmp_path)
    assert files == ["cat/1.png", "cat/3.png", "dog/2.png"]  # reading the image names it
    assert notices == ("links that lead nowhere: 2 (bird, cat/kittens)",)
    assert "links that lead nowhere: 2 (cat/kittens, bird)" in read_folder(tmp_path).notices


def test_a_folder_that_may_not_be_read_is_named_and_the_rest_is_used(tmp_path, monkeypatch):
    make(tmp_path, "cat/1.png", "cat/closed/2.png", "dog/3.png")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert walked(tmp_path) == (["cat/1.png", "dog/3.png"], ("folders that cannot be read: 1 (cat/closed)",))
    assert len(read_folder(tmp_path)) == 2
    with pytest.raises(DataError, match=r"closed cannot be read: Permission denied$"):
        walked(tmp_path / "cat" / "closed")


def test_what_a_run_wrote_is_passed_over(tmp_path):
    make(tmp_path, "cat/1.png", "old/run.json", "old/mistakes/2.png")
    assert walked(tmp_path) == (["cat/1.png"], ("passed over, written by a run of striate: 1 (old)",))
    assert walked(tmp_path / "old")[0] == ["mistakes/2.png", "run.json"]  # unless it is named


def test_folders_in_folders_in_folders(tmp_path, monkeypatch):
    """Deeper than Python's calls may be nested."""
    depth = 1200
    monkeypatch.chdir(tmp_path)
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    Path("1.png").write_bytes(b"deep")
    os.chdir(tmp_path)
    files, _ = walked(tmp_path)
    for level in range(depth, 0, -1):  # what pytest removes it with is recursive
        os.rename("/".join(["d"] * level), f"level {level}") if level % 300 == 0 else None
    assert files == ["/".join(["d"] * depth + ["1.png"])]


@posix
def test_predict_and_data_see_the_same_images(tmp_path):
    make(tmp_path / "real", *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(3)))
    photos = make(tmp_path / "photos", "one.png", ".Trash/x.png", ".ipynb_checkpoints/y.png", "@eaDir/z.png")
    for name in ("cat", "dog"):
        (photos / name).symlink_to(tmp_path / "real" / name)
    told: list[str] = []
    named = [os.path.relpath(name, photos) for name, _ in name_images(photos, log=told.append)]
    dataset = read_folder(photos)
    assert named == [*(dataset.images.name(index) for index in range(len(dataset))), "one.png"]
    assert told == [f"{photos}: passed over, hidden or left behind by a system: 3 (.Trash, .ipynb_checkpoints, @eaDir)"]
