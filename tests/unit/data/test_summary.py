import io
import json
from pathlib import Path

import pytest
from PIL import Image

from striate.data.hashing import fingerprint, hash_images
from striate.data.readers.folder import read_folder
from striate.data.readers.sources import open_source
from striate.data.summary import SizeRange, summarize


def picture(width: int, height: int, colour: int, mode: str = "RGB", file_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height), colour).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two splits, three classes, a copy in both splits, one with two labels, and four files that cannot be read."""
    jpeg = picture(40, 30, 10, file_format="JPEG")
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        "train/cat/1.png": picture(4, 2, 1),
        "train/cat/2.png": picture(4, 2, 2, "L"),
        "train/cat/turned.jpg": picture(6, 4, 9, file_format="JPEG", exif=turned),
        "train/dog/1.png": picture(5, 7, 3),
        "train/dog/copy.png": picture(4, 2, 1),
        "train/dog/empty.jpg": b"",
        "train/dog/cut off.jpg": jpeg[:-200],
        "train/eel/1.png": picture(4, 2, 4, "LA"),
        "val/cat/2.png": picture(4, 2, 2, "L"),
        "val/dog/text.jpg": b"no picture",
        "val/dog/large.png": picture(50, 50, 0),
        "val/dog/notes.txt": b"text",
    }
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    return tmp_path


def test_everything_that_is_in_a_folder(folder):
    dataset = read_folder(folder)
    summary = summarize(dataset, max_pixels=2000, num_workers=2)
    assert (summary.kind, summary.num_images, summary.num_classes) == ("folder", 11, 3)
    assert summary.images_per_class == {
        "train": {"cat": 3, "dog": 4, "eel": 1},
        "validation": {"cat": 1, "dog": 2, "eel": 0},
    }
    assert summary.broken == (
        ("train/dog/cut off.jpg", "is cut off"),
        ("train/dog/empty.jpg", "is empty"),
        ("val/dog/large.png", "has 50x50 pixels, over the limit of 2000"),
        ("val/dog/text.jpg", "is not an image but text"),
    )
    assert summary.copies == (
        ("train/cat/1.png", "train/dog/copy.png"),
        ("train/cat/2.png", "val/cat/2.png"),
    )
    assert summary.leaks == (("train/cat/2.png", "val/cat/2.png"),)
    assert summary.conflicts == (("train/cat/1.png", "train/dog/copy.png"),)
    assert summary.missing_classes == {"validation": ("eel",)}
    assert summary.sizes is not None
    assert summary.sizes.height == SizeRange(min=2, median=2.0, max=7)
    assert summary.sizes.width == SizeRange(min=4, median=4.0, max=5)
    assert summary.sizes.most_common == (((2, 4), 5), ((6, 4), 1), ((7, 5), 1))
    assert summary.modes == {"RGB": 4, "L": 2, "LA": 1}
    assert summary.formats == {"PNG": 6, "JPEG": 1}
    assert summary.notices == ("passed over, not images by their ending: 1 (val/dog/notes.txt)",)
    assert summary.fingerprint == fingerprint(dataset, hash_images(dataset))


def test_it_can_be_written_as_json(folder):
    summary = summarize(read_folder(folder))
    values = json.loads(json.dumps(summary.to_json()))
    assert values["images_per_class"]["train"]["dog"] == 4
    assert values["sizes"]["height"] == {"min": 2, "median": 2.0, "max": 50}
    assert values["sizes"]["most_common"][0] == [[2, 4], 5]
    assert values["broken"][0] == ["train/dog/cut off.jpg", "is cut off"]


def test_the_source_is_left_as_it_was(folder):
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
    summarize(read_folder(folder))
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")} == before


def test_files_that_vanish(folder):
    dataset = read_folder(folder)
    (folder / "train" / "eel" / "1.png").unlink()
    broken = dict(summarize(dataset).broken)
    assert broken["train/eel/1.png"] == "cannot be read (No such file or directory)"


def test_a_source_without_one_readable_image(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"")
    summary = summarize(read_folder(tmp_path))
    assert summary.sizes is None
    assert summary.broken == (("a/1.jpg", "is empty"),)
    assert summary.images_per_class == {"unassigned": {"a": 1}}
    assert summary.copies == ()


def test_pixels_and_progress():
    seen = []

    def track(items, what, total):
        seen.append((what, total))
        return items

    summary = summarize(open_source("digits"), track=track)
    assert seen == [("decoding images", 1797)]
    assert summary.formats == {"pixels": 1797}
    assert summary.modes == {"L": 1797}
    assert sum(summary.images_per_class["unassigned"].values()) == 1797


def test_real_photos(shared_data):
    summary = summarize(open_source(shared_data / "hymenoptera"))
    assert summary.images_per_class == {"train": {"ants": 123, "bees": 121}, "validation": {"ants": 35, "bees": 42}}
    assert summary.broken == summary.leaks == ()
    assert summary.formats == {"JPEG": 321}
    assert summary.sizes is not None
    assert summary.sizes.height.max == 412
