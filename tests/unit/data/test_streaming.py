"""Streamed images are those of a pack, and nothing but their sizes is kept."""

import dataclasses
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from striate.data.dataset import Dataset
from striate.data.hashing import hash_images
from striate.data.packing import pack_images
from striate.data.preprocessing import Preprocessing
from striate.data.readers.folder import read_folder
from striate.data.readers.shard_reader import read_shards
from striate.data.shards import write_shards
from striate.data.streaming import StreamedImages, stream_images
from striate.errors import DataError

COLOUR = Preprocessing(channels=3, resize_size=16, crop_size=(16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)
GREY = Preprocessing(channels=1, resize_size=12, crop_size=(12, 12), mean=(0.0,), std=(1.0,), resize="stretch")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos of two classes: of several sizes and formats, one turned by EXIF, two alike, two broken."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for number in range(9):
        place = folder / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20 + 3 * number, 44 - 3 * number, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.{'jpg' if number % 3 else 'png'}")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(rng.integers(0, 256, (20, 50, 3), np.uint8)).save(folder / "class0" / "turned.jpg", exif=turned)
    (folder / "class1" / "copy.png").write_bytes((folder / "class0" / "0.png").read_bytes())
    (folder / "class1" / "cut.jpg").write_bytes((folder / "class1" / "1.jpg").read_bytes()[:400])
    (folder / "class0" / "empty.png").write_bytes(b"")
    return folder


def stream(dataset: Dataset, cache: Path, preprocessing: Preprocessing = COLOUR, **options: Any) -> StreamedImages:
    return stream_images(dataset, hash_images(dataset), preprocessing, cache_dir=cache, **options)


@pytest.mark.parametrize("preprocessing", [COLOUR, GREY], ids=["colour", "grey"])
def test_they_are_the_packs(photos: Path, tmp_path: Path, preprocessing: Preprocessing) -> None:
    dataset = read_folder(photos)
    packed = pack_images(dataset, hash_images(dataset), preprocessing, cache_dir=tmp_path / "packed")
    for _ in range(2):  # looked at, and from what was kept
        streamed = stream(dataset, tmp_path / "streamed", preprocessing)
        assert len(streamed) == len(packed) == 13
        assert streamed.broken == packed.broken
        assert len(streamed.broken) == 2
        assert (streamed.usable == packed.usable).all()
        assert (streamed.shapes == packed.shapes).all()
        assert (streamed.channels, streamed.is_grey) == (packed.channels, packed.is_grey)
        for index in np.flatnonzero(packed.usable):
            assert (streamed.image(index) == packed.image(index)).all()
        with pytest.raises(DataError, match="was left out: it is empty"):
            streamed.image(next(index for index, reason in streamed.broken.items() if reason == "is empty"))


def test_only_sizes_are_kept_and_looked_at_once(photos: Path, tmp_path: Path) -> None:
    dataset, told = read_folder(photos), []
    stream(dataset, tmp_path / "cache", log=told.append)
    assert len(told) == 1
    (kept,) = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept.parent.name == "sizes"
    assert kept.stat().st_size < 2_000
    stream(dataset, tmp_path / "cache", log=told.append)
    assert len(told) == 1
    for torn in (kept.read_bytes()[:100], b"", b"something else"):
        kept.write_bytes(torn)
        again = stream(dataset, tmp_path / "cache", log=told.append)
        assert again.usable.sum() == 11
    assert len(told) == 4


def test_a_photo_that_changed_or_went_is_named(photos: Path, tmp_path: Path) -> None:
    dataset = read_folder(photos)
    streamed = stream(dataset, tmp_path / "cache")
    names = [dataset.images.name(index) for index in range(len(dataset))]
    place = names.index("class0/0.png")
    content = (photos / "class0" / "0.png").read_bytes()
    Image.new("RGB", (30, 30)).save(photos / "class0" / "0.png")
    with pytest.raises(DataError, match=r"class0/0\.png was changed after the source was scanned"):
        streamed.image(place)
    (photos / "class0" / "0.png").unlink()
    with pytest.raises(DataError, match=r"class0/0\.png cannot be read .*though it could be when the run began"):
        streamed.image(place)
    (photos / "class0" / "0.png").write_bytes(content)
    assert streamed.image(place).shape[2] == 3


def test_what_could_not_be_read_for_a_moment_is_not_remembered(photos: Path, tmp_path: Path) -> None:
    dataset = read_folder(photos)
    hashes = hash_images(dataset)
    missing = photos / "class0" / "2.jpg"
    content = missing.read_bytes()
    missing.unlink()
    first = stream_images(dataset, hashes, COLOUR, cache_dir=tmp_path / "cache")
    assert len(first.broken) == 3
    missing.write_bytes(content)
    assert len(stream(dataset, tmp_path / "cache").broken) == 2


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where a folder should be")
    told: list[str] = []
    assert stream(read_folder(photos), tmp_path / "cache", log=told.append).usable.sum() == 11
    assert told[1].startswith("sizes cannot be kept in")


def test_nothing_that_can_be_decoded_is_an_error(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 2 images"):
        stream(read_folder(tmp_path / "photos"), tmp_path / "cache")


def test_shards_say_what_lies_together(photos: Path, tmp_path: Path) -> None:
    dataset = read_folder(photos)
    write_shards(dataset, tmp_path / "shards")
    shards = read_shards(tmp_path / "shards")
    assert stream(dataset, tmp_path / "cache").regions is None
    streamed = stream(shards, tmp_path / "cache")
    assert (streamed.regions == shards.images.shard_of).all()  # type: ignore[attr-defined]
    packed = pack_images(shards, hash_images(shards), COLOUR, cache_dir=tmp_path / "packed")
    for index in np.flatnonzero(packed.usable):
        assert (streamed.image(index) == packed.image(index)).all()


def test_pixels_are_streamed_too(tmp_path: Path) -> None:
    class Pixels:
        images = np.random.default_rng(1).integers(0, 256, (5, 20, 24, 3), np.uint8)

        def __len__(self) -> int:
            return 5

        def name(self, index: int) -> str:
            return f"train[{index}]"

        def read(self, index: int) -> np.ndarray:
            return self.images[index]

    dataset = Dataset("set", "npz", ("a",), Pixels(), np.zeros(5, np.int64), np.full(5, -1, np.int8))
    packed = pack_images(dataset, hash_images(dataset), COLOUR, cache_dir=tmp_path)
    streamed = stream(dataset, tmp_path)
    assert all((streamed.image(index) == packed.image(index)).all() for index in range(5))


def test_a_limit_of_pixels_holds(photos: Path, tmp_path: Path) -> None:
    huge = io.BytesIO()
    Image.new("RGB", (300, 300)).save(huge, "PNG")
    (photos / "class0" / "huge.png").write_bytes(huge.getvalue())
    dataset = read_folder(photos)
    streamed = stream(dataset, tmp_path, max_pixels=10_000)
    assert len(streamed.broken) == 3
    open_again = dataclasses.replace(streamed, broken={})
    with pytest.raises(DataError, match=r"huge\.png has .*though it could be read before"):
        open_again.image([dataset.images.name(index) for index in range(len(dataset))].index("class0/huge.png"))


@pytest.mark.parametrize(
    "part",
    [
        {"shapes": np.zeros((12, 2), np.int32)},
        {"shapes": np.full((12, 2), -5, np.int32)},
        {"shapes": np.ones((12, 3), np.int32)},
        {"shapes": np.array("none")},
        {"has_color": np.array([True, False])},
        {"has_color": np.array("yes")},
        {"broken": np.array(3)},
        {"broken": np.array([10**6, 1])},
        {"broken": np.array([-1, 1])},
        {"reasons": np.array([1, 2])},
        {"reasons": np.array(["one"])},
    ],
    ids=str,
)
def test_sizes_of_other_types_are_looked_at_again(photos: Path, tmp_path: Path, part: dict[str, np.ndarray]) -> None:
    dataset = read_folder(photos)
    first = stream(dataset, tmp_path)
    (path,) = (tmp_path / "sizes").iterdir()
    with np.load(path) as kept:
        values = {**kept} | part
    with path.open("wb") as file:
        np.savez(file, **values)
    told: list[str] = []
    again = stream(dataset, tmp_path, log=told.append)
    assert "every image is decoded once" in told[0]
    assert (again.shapes == first.shapes).all()
    assert again.broken == first.broken


def test_damaged_sizes_are_looked_at_again(photos: Path, tmp_path: Path, seed: int) -> None:
    dataset, draw = read_folder(photos), random.Random(seed)
    first = stream(dataset, tmp_path)
    (path,) = (tmp_path / "sizes").iterdir()
    whole = path.read_bytes()
    for _ in range(40):
        place = draw.randrange(len(whole))
        path.write_bytes(whole[:place] + draw.choice([b"", b"\xff" * 8, b"\0", whole[:40]]) + whole[place + 1 :])
        again = stream(dataset, tmp_path)
        assert (again.shapes == first.shapes).all()
        assert again.broken == first.broken
