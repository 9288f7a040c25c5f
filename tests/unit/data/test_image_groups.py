"""Groups of images by folder, class, column and pattern, and what is told where that cannot be."""

import numpy as np
import pytest
from PIL import Image

from striate.data.image_groups import NO_MATCH, group_numbers, image_groups
from striate.data.readers.sources import open_source
from striate.errors import InputError


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for value, name in enumerate(["train/a/p1_0.png", "train/a/p2_0.png", "train/b/p1_1.png", "test/b/x.png"]):
        write(tmp_path / "photos" / name, 40 * value)
    return open_source(str(tmp_path / "photos"))


def test_by_folder_class_split_and_pattern(folder):
    names = [folder.images.name(index) for index in range(4)]
    found = {
        by: dict(zip(names, image_groups(folder, by), strict=True)) for by in ("folder", "class", "split", r"/(p\d)_")
    }
    assert found["folder"]["train/a/p1_0.png"] == "train/a"
    assert found["class"]["test/b/x.png"] == "b"
    assert found["split"]["test/b/x.png"] == "test"
    assert found[r"/(p\d)_"] == {
        "train/a/p1_0.png": "p1", "train/a/p2_0.png": "p2", "train/b/p1_1.png": "p1", "test/b/x.png": NO_MATCH,
    }  # fmt: skip
    assert group_numbers(["b", "a", "b"])[0] == ("a", "b")
    assert group_numbers(["b", "a", "b"])[1].tolist() == [1, 0, 1]


def test_by_a_column(tmp_path):
    for value in range(4):
        write(tmp_path / f"{value}.png", 40 * value)
    rows = ["path,label,Hospital", "0.png,x,north", "./1.png,y,south", "2.png,x,", "3.png,y,north"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    dataset = open_source(str(tmp_path / "labels.csv"))
    names = [dataset.images.name(index) for index in range(4)]
    found = dict(zip(names, image_groups(dataset, "hospital"), strict=True))
    assert sorted(found.values()) == ["(empty)", "north", "north", "south"]
    assert next(found[name] for name in names if name.endswith("1.png")) == "south"
    with pytest.raises(InputError, match="has no column 'city'; its columns are path, label, hospital"):
        image_groups(dataset, "city")


def test_what_cannot_group_is_one_line(folder):
    with pytest.raises(InputError, match="a column like 'hospital' needs a CSV"):
        image_groups(folder, "hospital")
    with pytest.raises(InputError, match="is no regular expression"):
        image_groups(folder, "(p")
    with pytest.raises(InputError, match="matches no image"):
        image_groups(folder, "(zebra)")
    with pytest.raises(InputError, match="has no group in parentheses"):
        image_groups(folder, "[(]")
