"""The index file: what goes in comes out, and nothing else comes in, also where somebody made the checksum right."""

import hashlib
import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from striate.errors import InputError, ModelFileError
from striate.retrieval.index_file import ImageIndex, load_index, write_index

ODD_NAMES = ("a.png", "b/ü \u202e.png", "", "with\nbreak.jpg", "no\udce4utf8.png")


def small_index(**changes) -> ImageIndex:
    rng = np.random.default_rng(0)
    count = len(ODD_NAMES)
    values = {
        "source": "photos", "model": "lenet5:w", "network": "lenet5", "digest": "0" * 64, "layer": "fc",
        "is_input": True, "metric": "l2", "class_names": ("one", "two"), "names": ODD_NAMES,
        "hashes": rng.integers(0, 256, (count, 16), np.uint8), "labels": np.array([0, 1, -1, 1, 0]),
        "features": rng.normal(size=(count, 3)).astype(np.float32),
    }  # fmt: skip
    return ImageIndex(**{**values, **changes})


def changed(data: bytes, change) -> bytes:
    """The file with its header changed, its length and checksum made right."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    rest = change(header, data[8 + length :]) or data[8 + length :]
    header["__metadata__"]["sha256"] = "0" * 64
    text = json.dumps(header, separators=(",", ":")).encode()
    head = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(head + rest).hexdigest()
    return head.replace(f'"sha256":"{"0" * 64}"'.encode(), f'"sha256":"{digest}"'.encode()) + rest


def about(header, **values) -> None:
    header["__metadata__"]["striate_index"] = json.dumps(
        {**json.loads(header["__metadata__"]["striate_index"]), **values}
    )


def test_everything_comes_back(tmp_path):
    index = small_index()
    write_index(index, tmp_path / "i")
    found = load_index(tmp_path / "i")
    for name in (
        "source",
        "model",
        "network",
        "digest",
        "layer",
        "is_input",
        "metric",
        "class_names",
        "names",
        "data_dir",
    ):
        assert getattr(found, name) == getattr(index, name)
    for name in ("hashes", "labels", "features"):
        assert (getattr(found, name) == getattr(index, name)).all()
    assert found.centers is None
    assert isinstance(found.features, np.memmap)
    assert [found.class_of(place) for place in range(5)] == ["one", "two", None, "two", "one"]
    assert "photos" in repr(found)
    assert (load_file(tmp_path / "i")["features"] == index.features).all()
    first = (tmp_path / "i").read_bytes()
    write_index(found, tmp_path / "i")
    assert (tmp_path / "i").read_bytes() == first


def test_cells_come_back(tmp_path):
    index = small_index(centers=np.eye(2, 3, dtype=np.float32), cell_stops=np.array([2, 5]))
    write_index(index, tmp_path / "i")
    assert load_index(tmp_path / "i").cell_stops.tolist() == [2, 5]


def test_a_damaged_byte_is_noticed(tmp_path):
    path = write_index(small_index(), tmp_path / "i")
    data = path.read_bytes()
    for place in np.random.default_rng(0).integers(0, len(data), 80).tolist():
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(ModelFileError):
            load_index(path)
    for length in (0, 7, 8, 40, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            load_index(path)


def wrong_rows(header, _):
    header["features"]["shape"] = [2**40, 3]


def wrong_offsets(header, _):
    header["labels"]["data_offsets"] = [48, 88]


def wrong_type(header, _):
    header["features"]["dtype"] = "I32"


def no_labels(header, _):
    del header["labels"]


def more_images(header, _):
    header["hashes"]["shape"] = [10, 8]


def label_of_no_class(header, rest):
    start, _ = header["labels"]["data_offsets"]
    return rest[:start] + np.array([7], "<i8").tobytes() + rest[start + 8 :]


def names_past_the_end(header, rest):
    start, stop = header["name_stops"]["data_offsets"]
    return rest[:start] + np.array([2**60] * 5, "<i8").tobytes() + rest[stop:]


def names_backwards(header, rest):
    start, stop = header["name_stops"]["data_offsets"]
    stops = np.frombuffer(rest[start:stop], "<i8").copy()
    stops[0] = stops[-1] + 1
    return rest[:start] + stops.tobytes() + rest[stop:]


def not_a_number(header, rest):
    start, _ = header["features"]["data_offsets"]
    return rest[:start] + np.array([np.nan], "<f4").tobytes() + rest[start + 4 :]


HOSTILE = {
    "cannot lie at bytes": wrong_rows,
    "starts at byte|cannot lie": wrong_offsets,
    "of another type": wrong_type,
    "tensors are not|starts at byte": no_labels,
    "not of as many images": more_images,
    "labels run from": label_of_no_class,
    "names do not end|cannot": names_past_the_end,
    "do not end where": names_backwards,
    "no finite numbers": not_a_number,
    "no metric": lambda header, _: about(header, metric=3),
    "metric is none of": lambda header, _: about(header, metric="l1"),
    "not version 1": lambda header, _: about(header, version=2),
    "has no version": lambda header, _: about(header, version=True),
    "has no class_names": lambda header, _: about(header, class_names="ab"),
    "class name is no string": lambda header, _: about(header, class_names=[1, 2]),
    "holds a NUL": lambda header, _: about(header, source="a\0b"),
    "other fields": lambda header, _: about(header, code="import os"),
    "its digest no digest": lambda header, _: about(header, digest="x" * 64),
    "is not JSON": lambda header, _: header["__metadata__"].update(striate_index="{"),
    "is no index of images": lambda header, _: header["__metadata__"].pop("striate_index") and None,
}  # fmt: skip


@pytest.mark.parametrize("message", HOSTILE)
def test_hostile_files_are_refused_in_one_line(tmp_path, message):
    path = write_index(small_index(), tmp_path / "i")
    path.write_bytes(changed(path.read_bytes(), HOSTILE[message]))
    with pytest.raises(ModelFileError) as caught:
        load_index(path)
    assert re.search(message, str(caught.value))
    assert "checksum" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_changed_header_with_its_checksum_right_is_read(tmp_path):
    """So that the cases above fail by what they change alone."""
    path = write_index(small_index(), tmp_path / "i")
    path.write_bytes(changed(path.read_bytes(), lambda header, _: about(header, source="elsewhere")))
    assert load_index(path).source == "elsewhere"


def test_files_that_are_none(tmp_path):
    (tmp_path / "text").write_text("an index of photos, or not")
    for path in (tmp_path / "text", tmp_path / "missing", tmp_path, "/dev/null", "a\0b"):
        with pytest.raises(ModelFileError):
            load_index(path)
    with pytest.raises(InputError, match="cannot be written"):
        write_index(small_index(), tmp_path / "text" / "i")
