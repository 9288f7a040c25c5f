"""Packing: what comes out, what is kept, and what happens when it is killed, torn, shared or out of room."""

import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from damaged_json import TEXTS, with_another_part
from striate.data import pack_folder
from striate.data.dataset import Dataset
from striate.data.decoding import decode_image
from striate.data.hashing import hash_images
from striate.data.packed import PackedImages
from striate.data.packing import pack_images
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError, InputError, RunError

PREPROCESSING = Preprocessing(channels=3, resize_size=16, crop_size=(16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)


class Reader:
    """Images by number; counts how often each was read. An OSError among them is raised."""

    def __init__(self, images: list[Any]) -> None:
        self.images = images
        self.num_reads = [0] * len(images)

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"photo {index}.png"

    def read(self, index: int) -> bytes | np.ndarray:
        self.num_reads[index] += 1
        if isinstance(self.images[index], OSError):
            raise self.images[index]
        return self.images[index]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def some_files(num_images: int = 6) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [png(rng.integers(0, 256, (20 + i % 10, 30 - i % 10, 3), np.uint8)) for i in range(num_images)]


def as_dataset(images: list[Any]) -> Dataset:
    labels = np.zeros(len(images), np.int64)
    return Dataset("photos", "folder", ("all",), Reader(images), labels, np.full(len(images), -1, np.int8))


def pack(images: list[Any], cache: Path, **options: Any) -> PackedImages:
    dataset = as_dataset(images)
    return pack_images(dataset, hash_images(dataset), PREPROCESSING, cache_dir=cache, num_workers=2, **options)


def pack_folders(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "packs").iterdir() if path.is_dir())


def assert_packed(packed: PackedImages, images: list[Any]) -> None:
    """Every usable image is in the pack as decoding and resizing it alone give it."""
    assert len(packed) == len(images)
    for index, image in enumerate(images):
        if index not in packed.broken:
            expected = PREPROCESSING.resize_image(decode_image(image, 3))
            assert (packed.image(index) == expected).all()
            assert tuple(packed.shapes[index]) == expected.shape[:2]


# what comes out


def test_files_are_decoded_resized_and_found_again(tmp_path: Path) -> None:
    images, told = some_files(), []
    first = pack(images, tmp_path, log=told.append)
    assert_packed(first, images)
    (folder,) = pack_folders(tmp_path)
    assert told == [f"packing 6 images, about 0.0 MB, into {folder}"]
    assert json.loads((folder / "complete.json").read_text())["source"] == "photos"
    assert not first.is_grey

    told.clear()
    dataset = as_dataset(images)
    hashes = hash_images(dataset)
    dataset.images.num_reads = [0] * 6  # type: ignore[attr-defined]
    second = pack_images(dataset, hashes, PREPROCESSING, cache_dir=tmp_path, log=told.append)
    assert_packed(second, images)
    assert told == []
    assert sum(dataset.images.num_reads) <= 1  # type: ignore[attr-defined]  # one look whether the source holds pixels


def test_broken_images_cost_only_themselves(tmp_path: Path) -> None:
    images = some_files()
    images[1], images[4] = b"", b"this is no picture"
    for _ in range(2):
        packed = pack(images, tmp_path)
        assert packed.broken == {1: "is empty", 4: "is not an image but text"}
        assert packed.usable.tolist() == [True, False, True, True, False, True]
        assert_packed(packed, images)
        with pytest.raises(DataError, match=r"^image 4 was not packed: it is not an image but text$"):
            packed.image(4)


def test_identical_images_share_their_bytes(tmp_path: Path) -> None:
    images = some_files(3)
    packed = pack([images[0], images[1], images[0], b"", images[2], b""], tmp_path)
    assert packed.offsets[0] == packed.offsets[2]
    assert packed.size_bytes == sum(packed.image(index).size for index in (0, 1, 4))
    assert packed.broken == {3: "is empty", 5: "is empty"}


def test_a_source_in_another_order_finds_the_same_pack(tmp_path: Path) -> None:
    images = some_files()
    pack(images, tmp_path)
    told: list[str] = []
    turned = images[::-1] + images[:2]
    assert_packed(pack(turned, tmp_path, log=told.append), turned)
    assert told == []
    assert len(pack_folders(tmp_path)) == 1


@pytest.mark.parametrize("change", [{"resize_size": 17}, {"resize": "stretch"}, {"interpolation": "bicubic"}])
def test_other_ways_of_resizing_are_other_packs(tmp_path: Path, change: dict[str, Any]) -> None:
    dataset = as_dataset(some_files(2))
    hashes = hash_images(dataset)
    values = PREPROCESSING.to_json()
    for other in (values, values | change, values | {"crop_size": (9, 9), "channel_order": "BGR", "mean": (9.0,) * 3}):
        pack_images(dataset, hashes, Preprocessing.from_json(other), cache_dir=tmp_path)
    assert len(pack_folders(tmp_path)) == 2


def test_the_limit_on_pixels_belongs_to_the_pack(tmp_path: Path) -> None:
    images = some_files(3)
    assert pack(images, tmp_path, max_pixels=600).broken == {
        1: "has 29x21 pixels, over the limit of 600",
        2: "has 28x22 pixels, over the limit of 600",
    }
    assert pack(images, tmp_path).broken == {}


def test_pixels_stay_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (28, 28, 1), np.uint8) for _ in range(5)]
    images.append(images[2])
    packed = pack(images, tmp_path)
    assert_packed(packed, images)
    assert packed.uniform_shape == (16, 16)
    assert packed.is_grey
    assert packed.offsets[5] == packed.offsets[2]
    assert list(tmp_path.iterdir()) == []


def test_many_pixels_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("striate.data.packing.MEMORY_LIMIT_BYTES", 3000)
    monkeypatch.setattr(pack_folder, "MEMORY_LIMIT_BYTES", 3000)
    images = [np.full((16, 16, 1), value, np.uint8) for value in range(9)]
    packed = pack(images, tmp_path)
    assert_packed(packed, images)
    assert len(pack_folders(tmp_path)) == 1
    assert isinstance(packed.pixels.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        packed.image(0)[:] = 1
    assert_packed(pack(images, tmp_path), images)


def test_pixels_that_take_work_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("striate.data.packing._FEW_IMAGES", 8)
    for size, on_disk in ((16, False), (28, True)):
        images = [np.full((size, size, 1), value, np.uint8) for value in range(9)]
        assert_packed(pack(images, tmp_path), images)
        assert (tmp_path / "packs").exists() == on_disk


def test_grey_files_are_seen_as_grey(tmp_path: Path) -> None:
    grey = [png(np.full((20, 20), value, np.uint8)) for value in range(3)]
    for _ in range(2):
        assert pack(grey, tmp_path).is_grey
    assert not pack([*grey, *some_files(1)], tmp_path).is_grey


# what cannot be packed


def test_nothing_that_can_be_decoded_is_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            pack([b"", b"text"], tmp_path)
        assert str(caught.value) == ("none of the 2 images in photos can be decoded; the first, photo 0.png, is empty")
    with pytest.raises(
        DataError, match=r"^none of the 1 images in photos can be decoded; the first, photo 0.png, has 4"
    ):
        pack([np.zeros((20, 20, 4), np.uint8)], tmp_path)
    with pytest.raises(DataError, match=r"^none of the 0 images in photos can be decoded$"):
        pack([], tmp_path)
    with pytest.raises(DataError, match=r"first, photo 0.png, cannot be read \(gone\)$"):
        pack([OSError(5, "gone")], tmp_path)


def test_hashes_must_belong_to_the_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^expected a hash of 16 bytes for each of 2 images but got \(1, 16\)$"):
        pack_images(as_dataset(some_files(2)), np.ones((1, 16), np.uint8), PREPROCESSING, cache_dir=tmp_path)


def test_what_cannot_be_read_now_is_tried_again(tmp_path: Path) -> None:
    """A server that does not answer says nothing about the image: its pack must not call it broken for ever."""
    images: list[Any] = some_files()
    dataset = as_dataset(images)
    hashes = hash_images(dataset)
    kept, images[3] = images[3], PermissionError(13, "Permission denied")
    packed = pack_images(dataset, hashes, PREPROCESSING, cache_dir=tmp_path)
    assert packed.broken == {3: "cannot be read (Permission denied)"}
    images[3] = kept
    told: list[str] = []
    packed = pack_images(dataset, hashes, PREPROCESSING, cache_dir=tmp_path, log=told.append)
    assert_packed(packed, images)
    assert packed.broken == {}
    assert told[0].startswith("packing 1 of 6 images (the others were packed before), about 0.0 MB, into")


def test_what_could_not_be_hashed_is_broken(tmp_path: Path) -> None:
    images = [*some_files(2), OSError(5, "Input/output error")]
    assert pack(images, tmp_path).broken == {2: "cannot be read (Input/output error)"}
    dataset = as_dataset(some_files(3))
    hashes = hash_images(dataset)
    hashes[1] = 0
    packed = pack_images(dataset, hashes, PREPROCESSING, cache_dir=tmp_path)
    assert packed.broken == {1: "could not be read a moment ago; try again"}


def test_a_file_changed_since_it_was_hashed_does_not_spoil_the_pack(tmp_path: Path) -> None:
    images = some_files()
    dataset = as_dataset(images)
    hashes = hash_images(dataset)
    before, images[2] = list(images), png(np.zeros((20, 20, 3), np.uint8))
    packed = pack_images(dataset, hashes, PREPROCESSING, cache_dir=tmp_path)
    assert packed.broken == {2: "was changed after the source was scanned"}
    assert_packed(pack(before, tmp_path), before)


# what is on disk


def damage_byte(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def cut(path: Path, size_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:size_bytes])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped pixel": (lambda f: damage_byte(f / "pixels", 1000), "its pixels do not have their checksum"),
    "pixels cut off": (lambda f: cut(f / "pixels", 3000), "its files are not those that were finished"),
    "pixels gone": (lambda f: (f / "pixels").unlink(), "a file of it is gone"),
    "a flipped record": (lambda f: damage_byte(f / "index", 50), "its files are not those that were finished"),
    "index cut off": (lambda f: cut(f / "index", 50), "its files are not those that were finished"),
    "index gone": (lambda f: (f / "index").unlink(), "its files are not those that were finished"),
    "reasons gone": (lambda f: (f / "broken.jsonl").unlink(), "a file of it is gone"),
    "reasons cut off": (lambda f: cut(f / "broken.jsonl", 9), "the reasons of 1 broken images are lost"),
    "summary cut off": (lambda f: cut(f / "complete.json", 20), "its summary cannot be read"),
    "another format": (
        lambda f: (f / "complete.json").write_text('{"format": 2, "size_bytes": 1, "index_blake2b": ""}'),
        "its files are not those that were finished",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_pack_is_made_again_and_told(tmp_path: Path, damage: str) -> None:
    images = [*some_files(), b"no picture"]
    pack(images, tmp_path)
    (folder,) = pack_folders(tmp_path)
    change, reason = DAMAGES[damage]
    change(folder)
    told: list[str] = []
    assert_packed(pack(images, tmp_path, log=told.append), images)
    assert told[0] == f"the packed images in {folder} are damaged ({reason}); packing them again"
    told.clear()
    packed = pack(images, tmp_path, log=told.append)
    assert packed.broken == {6: "is not an image but text"}
    assert told == []


def test_large_packs_are_checked_in_places_and_at_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = some_files(20)
    pack(images, tmp_path)
    (folder,) = pack_folders(tmp_path)
    damage_byte(folder / "pixels", -1)
    monkeypatch.setattr(pack_folder, "MEMORY_LIMIT_BYTES", 3000)
    told: list[str] = []
    assert_packed(pack(images, tmp_path, log=told.append), images)
    assert told[0].endswith("are damaged (its pixels do not have their checksum); packing them again")


def unfinish(folder: Path, num_records: int, tail: bytes = b"") -> None:
    """As if the process had been killed after so many records, and while writing more of every file."""
    (folder / "complete.json").unlink()
    cut(folder / "index", num_records * 32)
    for name in ("index", "pixels", "broken.jsonl"):
        with (folder / name).open("ab") as file:
            file.write(tail)


@pytest.mark.parametrize("tail", [b"", b'\n{"ro'], ids=["whole", "torn"])
@pytest.mark.parametrize("num_records", [0, 1, 4, 7])
def test_what_was_recorded_is_not_decoded_again(tmp_path: Path, num_records: int, tail: bytes) -> None:
    images = [*some_files(), b"no picture"]
    pack(images, tmp_path)
    (folder,) = pack_folders(tmp_path)
    unfinish(folder, num_records, tail)
    dataset = as_dataset(images)
    hashes = hash_images(dataset)
    dataset.images.num_reads = [0] * 7  # type: ignore[attr-defined]
    told: list[str] = []
    for _ in range(2):
        packed = pack_images(dataset, hashes, PREPROCESSING, cache_dir=tmp_path, log=told.append)
        assert_packed(packed, images)
        assert packed.broken == {6: "is not an image but text"}
    assert sum(dataset.images.num_reads) == 7 - num_records + 2 + (num_records < 7)  # type: ignore[attr-defined]
    assert len(told) == (num_records < 7)
    assert not told or told[0].startswith(f"packing {7 - num_records} {'of 7 ' if num_records else ''}images")


def test_an_unfinished_index_that_makes_no_sense_is_not_trusted(tmp_path: Path) -> None:
    images = some_files()
    for place, value in ((0, 200), (16, 99), (28, 7)):  # row number, height, state of the second record
        pack(images, tmp_path)
        (folder,) = pack_folders(tmp_path)
        unfinish(folder, 4)
        data = bytearray((folder / "index").read_bytes())
        data[32 + place] = value
        (folder / "index").write_bytes(data)
        told: list[str] = []
        assert_packed(pack(images, tmp_path, log=told.append), images)
        assert told[0] == f"the packed images in {folder} are damaged (its index is not sound); packing them again"


KILLED = """
import sys
import time
from pathlib import Path
import numpy as np
from striate.data import pack_folder
from striate.data.dataset import Dataset
from striate.data.hashing import hash_images
from striate.data.packing import pack_images
from striate.data.preprocessing import Preprocessing

class Reader:
    def __init__(self, paths): self.paths = paths
    def __len__(self): return len(self.paths)
    def name(self, index): return self.paths[index].name
    def read(self, index): return self.paths[index].read_bytes()

pack_folder._FLUSH_BYTES = 20_000
paths = sorted(Path(sys.argv[1]).iterdir())
count = len(paths)
dataset = Dataset("photos", "folder", ("all",), Reader(paths), np.zeros(count, int), np.full(count, -1, np.int8))
hashes = hash_images(dataset)
preprocessing = Preprocessing(3, 16, (16, 16), (0.0,) * 3, (1.0,) * 3)
def track(items, what, total):
    for item in items:
        print("x", flush=True)
        time.sleep(0.002)
        yield item
pack_images(dataset, hashes, preprocessing, cache_dir=Path(sys.argv[2]), num_workers=1, log=print, track=track)
print("done", flush=True)
"""


def start_packing(photos: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, str(photos), str(cache)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 300 PNG files of noise."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(300):
        (folder / f"{number:03}.png").write_bytes(png(rng.integers(0, 256, (24, 24, 3), np.uint8)))
    return folder


def test_killed_and_then_finished(tmp_path: Path, photos: Path) -> None:
    process = start_packing(photos, tmp_path / "cache")
    assert process.stdout is not None
    for _ in range(150):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    told: list[str] = []
    images = [path.read_bytes() for path in sorted(photos.iterdir())]
    assert_packed(pack(images, tmp_path / "cache", log=told.append), images)
    assert " of 300 images (the others were packed before" in told[0]
    assert int(told[0].split()[1]) < 200  # what each flush had recorded was kept


def test_two_processes_share_one_pack(tmp_path: Path, photos: Path) -> None:
    """The second takes part while the first is at work, waits, and decodes nothing itself."""
    process = start_packing(photos, tmp_path / "cache")
    assert process.stdout is not None
    process.stdout.readline()
    images, told = [path.read_bytes() for path in sorted(photos.iterdir())], []
    dataset = as_dataset(images)
    hashes = hash_images(dataset)
    dataset.images.num_reads = [0] * 300  # type: ignore[attr-defined]
    packed = pack_images(dataset, hashes, PREPROCESSING, cache_dir=tmp_path / "cache", log=told.append)
    output = process.stdout.read()  # not communicate(), which passes over what readline() has read ahead
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    assert output.splitlines()[-1] == "done"
    assert output.splitlines().count("x") == 300
    assert sum(dataset.images.num_reads) == 1  # type: ignore[attr-defined]  # whether the source holds pixels
    assert_packed(packed, images)


def test_who_waits_for_another_is_told(tmp_path: Path) -> None:
    images, told = some_files(), []
    pack(images, tmp_path)
    (folder,) = pack_folders(tmp_path)
    unfinish(folder, 2)
    with pack_folder.sole_writer(folder, told.append):
        waiting = threading.Thread(target=pack, args=(images, tmp_path), kwargs={"log": told.append})
        waiting.start()
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    waiting.join(10)
    assert told[0] == "another process is packing the same images; waiting for it"
    assert told[1].startswith("packing 4 of 6 images")


def test_a_finished_pack_needs_nothing_to_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a cache that only others may write to: no lock, no file."""
    images = some_files()
    pack(images, tmp_path)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("striate.data.packing.sole_writer", refuse)
    assert_packed(pack(images, tmp_path), images)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "packs").write_text("a file where a folder should be")
    with pytest.raises(RunError) as caught:
        pack(some_files(), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"packed images cannot be kept in {tmp_path / 'packs'}")
    assert message.endswith("set STRIATE_CACHE to a folder that can be written")


def test_a_file_system_without_locks_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(pack_folder.FileLock, "acquire", refuse)
    with pytest.raises(RunError, match="its file system has no locks; set STRIATE_CACHE to a folder that can be writ"):
        pack(some_files(), tmp_path)


def test_a_full_disk_is_one_line_and_keeps_what_was_packed(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the end of the disk: writing stops in the middle of an image."""
    images = some_files(40)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(RunError) as caught:
            pack(images, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    (folder,) = pack_folders(tmp_path)
    assert str(caught.value) == (
        f"the disk is full while packing images into {folder}; make room, or set STRIATE_CACHE to another folder, "
        "and run again; what there was no room to record is packed anew"
    )
    told: list[str] = []
    assert_packed(pack(images, tmp_path, log=told.append), images)
    assert " of 40 images (the others were packed before" in told[0]


def test_too_little_room_is_told_before_it_is_used_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("striate.data.packing.shutil.disk_usage", lambda _: usage)
    told: list[str] = []
    pack(some_files(), tmp_path, log=told.append)
    assert told[1] == "only 0.0 MB are free there; set STRIATE_CACHE to a folder with more room"


def test_progress_is_shown_and_may_stop_the_work(tmp_path: Path) -> None:
    images = some_files(50)

    def stop_early(items: Iterable[Any], what: str, total: int) -> Iterable[Any]:
        assert (what, total) == ("decoding images", 50)
        for number, item in enumerate(items):
            if number == 20:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        pack(images, tmp_path, track=stop_early)
    assert not any(thread.name.startswith("striate-prefetch") for thread in threading.enumerate())
    told: list[str] = []
    assert_packed(pack(images, tmp_path, log=told.append), images)
    assert told[0].startswith("packing 30 of 50 images")


def test_real_photos_are_packed_as_they_are_predicted(shared_data: Path, tmp_path: Path) -> None:
    images = [path.read_bytes() for path in sorted((shared_data / "hymenoptera" / "val" / "ants").glob("*.jpg"))]
    for _ in range(2):
        assert_packed(pack(images, tmp_path), images)


def test_a_damaged_pack_costs_only_packing_again(tmp_path: Path, seed: int) -> None:
    """Whatever stands in a file of the cache: the images come out as they are, or a reason does that was written for
    one.
    """
    images = [*some_files(4), b"no image"]
    pack(images, tmp_path)
    (folder,) = pack_folders(tmp_path)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(whole) == {"pixels", "index", "broken.jsonl", "complete.json"}
    draw, num_packed_again = random.Random(seed), 0
    for number in range(120):
        if number == 60:  # the rest as if it had been killed before the end
            del whole["complete.json"]
        for path in folder.iterdir():
            path.unlink()
        for name, data in whole.items():
            (folder / name).write_bytes(data)
        name = draw.choice(sorted(whole))
        (folder / name).write_bytes(changed(whole[name], name, draw))
        told: list[str] = []
        packed = pack(images, tmp_path, log=told.append)
        assert_packed(packed, [*images[:4], None])
        assert list(packed.broken) == [4]
        num_packed_again += any("packing" in line for line in told)
    assert num_packed_again > 60


def changed(data: bytes, name: str, draw: random.Random) -> bytes:
    """The file with a byte, a record or a part of its JSON that is another."""
    if name.startswith("complete") and draw.random() < 0.8:
        return json.dumps(with_another_part(json.loads(data), draw)).encode()
    if name.startswith("broken") and draw.random() < 0.8:
        return b"\n" + json.dumps(with_another_part(json.loads(data), draw)).encode()
    if draw.random() < 0.2:
        return draw.choice(TEXTS).encode()
    place, kind = draw.randrange(len(data)), draw.randrange(3)
    middle = [bytes([data[place] ^ 1 << draw.randrange(8)]), b"", draw.randbytes(40)][kind]
    return data[:place] + middle + data[place + 1 :]
