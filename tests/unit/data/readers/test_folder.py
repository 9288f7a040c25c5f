import os
import sys
from pathlib import Path

import numpy as np
import pytest

from striate.data.dataset import Dataset
from striate.data.readers.folder import num_class_folders, read_folder
from striate.errors import DataError


def make(root: Path, *paths: str) -> Path:
    """Files of a few bytes; scanning decodes nothing."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def listed(dataset: Dataset) -> list[tuple[str, str, int]]:
    """(name, class, split) of each image."""
    names = [dataset.images.name(i) for i in range(len(dataset))]
    classes = [dataset.class_names[label] for label in dataset.labels]
    return list(zip(names, classes, dataset.given_splits.tolist(), strict=True))


def test_a_folder_for_each_class(tmp_path):
    dataset = read_folder(make(tmp_path, "cat/2.jpg", "cat/1.PNG", "Dog/a b.jpeg", "Ärger/ü.webp"))
    assert dataset.kind == "folder"
    assert dataset.class_names == ("Dog", "cat", "Ärger")
    assert listed(dataset) == [
        ("Dog/a b.jpeg", "Dog", -1),
        ("cat/1.PNG", "cat", -1),
        ("cat/2.jpg", "cat", -1),
        ("Ärger/ü.webp", "Ärger", -1),
    ]
    assert dataset.images.read(3) == "Ärger/ü.webp".encode()
    assert dataset.notices == ()
    assert not dataset.has_index_labels
    assert dataset.labels.dtype == np.int64


def test_names_that_are_numbers_are_in_their_order(tmp_path):
    assert read_folder(make(tmp_path, "10/a.png", "9/a.png", "0/a.png")).class_names == ("0", "9", "10")


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "dev", "Val"])
def test_splits_above_the_classes(tmp_path, validation):
    """Classes are matched by name over the splits, whatever each of them lacks."""
    make(tmp_path, "train/b/1.png", "train/c/1.png", f"{validation}/c/2.png", "test/a/3.png", "test/b/3.png")
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("a", "b", "c")
    assert {(name[-5], label, split) for name, label, split in listed(dataset)} == {
        ("1", "b", 0),
        ("1", "c", 0),
        ("2", "c", 1),
        ("3", "a", 2),
        ("3", "b", 2),
    }


def test_only_a_test_folder(tmp_path):
    assert read_folder(make(tmp_path, "test/a/1.png")).given_splits.tolist() == [2]


def test_a_class_called_train(tmp_path):
    assert read_folder(make(tmp_path, "train/1.png", "tram/1.png")).class_names == ("train", "tram")


def test_images_deeper_down_belong_to_the_class(tmp_path):
    dataset = read_folder(make(tmp_path, "cat/indoors/night/1.png", "cat/2.png", "dog/outdoors/3.png"))
    assert [row[:2] for row in listed(dataset)] == [
        ("cat/2.png", "cat"),
        ("cat/indoors/night/1.png", "cat"),
        ("dog/outdoors/3.png", "dog"),
    ]


def test_what_is_passed_over_is_told(tmp_path):
    make(
        tmp_path,
        "a/1.png",
        "a/notes.txt",
        "a/.hidden.png",
        "b/1.png",
        "b/Thumbs.db",
        "c/readme.md",
        "x.png",
        ".git/1.png",
    )
    dataset = read_folder(tmp_path)
    assert dataset.class_names == ("a", "b")
    assert dataset.notices == (
        f"passed over in {tmp_path}, not in the folder of a class: 1 (x.png)",
        "folders without images, not taken for classes: 1 (c)",
        "passed over, not images by their ending: 2 (a/notes.txt, c/readme.md)",
        "passed over, hidden or left behind by a system: 3 (.git, a/.hidden.png, b/Thumbs.db)",
    )


def test_what_lies_beside_the_splits_is_told(tmp_path):
    make(tmp_path, "train/a/1.png", "train/b/1.png", "train/2.png", "old/a/1.png", "labels.txt", "test/1.png")
    assert read_folder(tmp_path).notices == (
        f"passed over in {tmp_path / 'test'}, not in the folder of a class: 1 (1.png)",
        f"passed over in {tmp_path / 'train'}, not in the folder of a class: 1 (2.png)",
        "passed over beside the folders of the splits: 2 (labels.txt, old)",
    )


def test_many_names_are_shortened(tmp_path):
    make(tmp_path, "a/1.png", *(f"b/{i}.txt" for i in range(9)))
    assert read_folder(tmp_path).notices[-1].endswith("9 (b/0.txt, b/1.txt, b/2.txt, ...)")


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_links_are_followed_but_not_in_circles(tmp_path):
    make(tmp_path / "elsewhere", "1.png")
    root = make(tmp_path / "root", "a/2.png", "b/3.png")
    (root / "a" / "link.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    (root / "a" / "circle").symlink_to(root / "a")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = ["a/2.png", "a/gone.png", "a/link.png", "b/3.png", "c/1.png"]  # what is gone is named when it is read
    assert [row[0] for row in listed(read_folder(root))] == found


def test_accents_written_in_two_ways_are_one_class(tmp_path):
    dataset = read_folder(make(tmp_path, "train/caf\u00e9/1.png", "train/tea/1.png", "val/cafe\u0301/2.png"))
    assert dataset.class_names == ("café", "tea")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf8(tmp_path):
    (tmp_path / "a").mkdir()
    with open(os.fsencode(tmp_path) + b"/a/\xff.png", "wb") as file:
        file.write(b"bytes")
    make(tmp_path, "b/1.png")
    dataset = read_folder(tmp_path)
    assert dataset.images.name(0) == "a/\ufffd.png"
    assert dataset.images.read(0) == b"bytes"


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ((), r"is empty; it should hold a folder for each class with its images$"),
        (
            ("1.png", "2.png"),
            r"holds images but no folders of classes; put the images of each class into a folder of its own$",
        ),
        (
            ("a/1.txt", "notes.txt"),
            r"holds no images \(.* ending: 2 \(a/1.txt, notes.txt\)\); it should hold a folder for each class with",
        ),
        (("train/1.heic",), r"holds no images \(.*1 \(train/1.heic\); .heic: convert to JPEG first\); it should hold"),
        (
            ("photos/cat/1.png", "photos/dog/1.png", "other/notes.txt"),
            r"holds images in one folder alone, photos; did you mean .*/photos\? it holds 2 class folders$",
        ),
    ],
)
def test_folders_that_are_no_data_set(tmp_path, paths, message):
    with pytest.raises(DataError, match=message):
        read_folder(make(tmp_path, *paths))


def test_class_folders_are_counted(tmp_path):
    assert num_class_folders(make(tmp_path, "a/x/1.png", "b/1.txt", "c/2.jpg", "3.jpg")) == 2


def test_a_thousand_classes(tmp_path):
    make(tmp_path, *(f"class {number}/1.png" for number in range(1000)))
    dataset = read_folder(tmp_path)
    assert len(dataset.class_names) == len(dataset) == 1000
    assert all(name.startswith(class_name + "/") for name, class_name, _ in listed(dataset))


def test_a_folder_that_may_not_be_read(tmp_path):
    make(tmp_path, "a/1.png")
    with pytest.raises(DataError, match=r"absent cannot be read: No such file or directory$"):
        read_folder(tmp_path / "absent")
