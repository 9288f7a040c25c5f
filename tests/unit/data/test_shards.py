"""Shards: the same images, byte for byte; torn, foreign and hostile ones refused; a writer that was killed goes on."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from striate.data.hashing import fingerprint, hash_images
from striate.data.readers.sources import open_source
from striate.data.shards import read_index, write_shards
from striate.errors import DataError, InputError


@pytest.fixture
def photos(tmp_path):
    """Two classes of noise in JPEG and PNG, with a train and a test folder; some 4 KB an image."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 400), ("test", 60)):
        for number, name in enumerate(("cats", "dogs")):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for place in range(count // 2):
                image = Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8))
                image.save(folder / f"{place:03}.{'png' if number else 'jpg'}")
    return tmp_path / "photos"


@pytest.fixture
def shards(photos, tmp_path):
    write_shards(open_source(photos), tmp_path / "shards", shard_mb=1)
    return tmp_path / "shards"


def test_the_same_images_under_the_same_names(photos, shards):
    source, sharded = open_source(photos), open_source(shards)
    assert sharded.kind == "shards"
    assert sharded.class_names == source.class_names
    assert fingerprint(sharded, hash_images(sharded)) == fingerprint(source, hash_images(source))
    places = {source.images.name(index): index for index in range(len(source))}
    for index in range(0, len(sharded), 17):
        assert sharded.images.read(index) == source.images.read(places[sharded.images.name(index)])


def test_every_shard_is_a_fair_sample_of_one_split(shards):
    _, listed = read_index(shards)
    assert [shard.name for shard in listed][:2] == ["train-000000.tar", "train-000001.tar"]
    assert {shard.split for shard in listed} == {"train", "test"}
    for shard in listed:
        rows = json.loads((shards / shard.name).with_suffix(".json").read_text())["images"]
        assert {row["split"] for row in rows} == {shard.split}
        if shard.num_images > 50:
            assert 0.3 < np.mean([row["label"] for row in rows]) < 0.7


def test_the_tars_are_plain_and_the_same_each_time(photos, shards, tmp_path):
    with tarfile.open(shards / "train-000000.tar") as tar:
        names = tar.getnames()
    assert [name.split(".")[1] for name in names[:3]] in (["jpg", "cls", "json"], ["png", "cls", "json"])
    write_shards(open_source(photos), tmp_path / "again", shard_mb=1)
    assert read_index(tmp_path / "again")[1] == read_index(shards)[1]


def test_pixels_become_png_without_loss(tmp_path):
    digits = open_source("digits")
    written = write_shards(digits, tmp_path / "digits", shard_mb=100)
    assert len(written.shards) == 1
    with tarfile.open(tmp_path / "digits" / "images-000000.tar") as tar:
        name = tar.getnames()[0]
        pixels = np.asarray(Image.open(tar.extractfile(name)))
    assert np.array_equal(pixels, digits.images.read(int(name.removesuffix(".png")))[..., 0])
    assert open_source(tmp_path / "digits").images.name(7) == digits.images.name(7)


def test_a_torn_shard_is_named_with_the_place(shards):
    path = shards / "train-000000.tar"
    row = json.loads(path.with_suffix(".json").read_text())["images"][5]
    size = path.stat().st_size
    os.truncate(path, row["offset"] + 100)
    expected = (
        f"shard {path} is torn: it ends at byte {row['offset'] + 100:,} of {size:,}, within {row['name']}, "
        f"which begins at byte {row['offset']:,}; copy it again, or delete it and run"
    )
    with pytest.raises(DataError) as caught:
        open_source(shards)
    assert str(caught.value).startswith(expected)


def test_a_shard_torn_while_it_is_read_costs_its_images(shards):
    dataset = open_source(shards)
    os.truncate(shards / "train-000000.tar", 5_000)
    hashes = hash_images(dataset)
    assert 0 < (~hashes.any(axis=1)).sum() < len(dataset)
    with pytest.raises(OSError, match=r"train-000000.tar ends \d+ bytes too early, in what begins at \d+"):
        dataset.images.read(int(np.flatnonzero(~hashes.any(axis=1))[-1]))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda index: index["shards"][0].update(name="../../etc/passwd.tar"), "which is not a file beside it"),
        (
            lambda index: index["shards"].append(index["shards"][0] | {"name": "gone.tar"}),
            "or its table cannot be read",
        ),
        (lambda index: index["shards"][0].update(num_images=3), "does not fit it; copy both again"),
        (lambda index: index.update(format=9), "has version 9; this striate reads up to 1: update it"),
        (lambda index: index.pop("shards"), "cannot be read as an index of shards"),
    ],
)
def test_an_index_that_lies_is_refused(shards, change, line):
    index = json.loads((shards / "shards.json").read_text())
    change(index)
    (shards / "shards.json").write_text(json.dumps(index))
    with pytest.raises(DataError) as caught:
        open_source(shards)
    assert line in str(caught.value)


def test_a_table_that_points_outside_is_refused(shards):
    path = shards / "train-000000.json"
    table = json.loads(path.read_text())
    table["images"][0]["offset"] = -512
    path.write_text(json.dumps(table))
    with pytest.raises(
        DataError, match=r"its rows are not name, label, split, index, offset and size\); copy both again"
    ):
        open_source(shards)


def test_folders_that_hold_something_else_are_left_alone(photos, shards, tmp_path):
    with pytest.raises(InputError, match=r"holds something other than shards; name an empty folder$"):
        write_shards(open_source(photos), photos)
    with pytest.raises(
        InputError, match=r"holds shards of another source, or of other sizes than 256 MB; name an empty"
    ):
        write_shards(open_source("digits"), shards)
    with pytest.raises(InputError, match=r"^a shard must have at least 1 megabyte but shard_mb is 0$"):
        write_shards(open_source("digits"), tmp_path / "zero", shard_mb=0)


def test_a_file_that_cannot_be_read_is_left_out_by_name(photos, tmp_path):
    dataset = open_source(photos)
    (photos / "train" / "cats" / "000.jpg").unlink()
    written = write_shards(dataset, tmp_path / "out", shard_mb=1)
    assert written.left_out == ("train/cats/000.jpg cannot be read (No such file or directory)",)
    sharded = open_source(tmp_path / "out")
    assert len(sharded) == len(dataset) - 1
    (notice,) = sharded.notices
    assert notice.startswith("left out when the shards were written: 1 (train/cats/000.jpg cannot be read")


def test_a_writer_that_was_killed_goes_on_and_keeps_whole_shards(photos, shards, tmp_path):
    out = tmp_path / "killed"
    code = (
        "import sys, time; from pathlib import Path; from striate.data import shards\n"
        "from striate.data.readers import access\n"
        "from striate.data.readers.sources import open_source\n"
        "real = access.FileImages.read\n"
        "access.FileImages.read = lambda self, index: (time.sleep(0.002), real(self, index))[1]\n"
        "shards.write_shards(open_source(sys.argv[1]), Path(sys.argv[2]), shard_mb=1)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code, str(photos), str(out)], env=environment)
    deadline = time.monotonic() + 60
    while not (out / "train-000000.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(
        DataError, match=r"^the shards in .* are not finished; run the `striate data --shards` that began"
    ):
        open_source(out)
    before = (out / "train-000000.tar").stat().st_mtime_ns
    told: list[str] = []
    written = write_shards(open_source(photos), out, shard_mb=1, log=told.append)
    assert written.num_kept >= 1
    assert told == [f"{written.num_kept} of {len(written.shards)} shards were whole already"]
    assert (out / "train-000000.tar").stat().st_mtime_ns == before
    assert read_index(out)[1] == read_index(shards)[1]
