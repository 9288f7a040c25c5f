import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from striate.data.readers.idx import holds_idx, read_idx, read_idx_folder
from striate.errors import DataError

PIXELS = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
LABELS = np.array([2, 0, 5], dtype=np.uint8)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_pair(folder: Path, part: str = "train", *, images: np.ndarray = PIXELS, labels: np.ndarray = LABELS) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))


def test_both_pairs(tmp_path):
    write_pair(tmp_path)
    write_pair(tmp_path, "t10k", images=PIXELS[:1] + 100, labels=LABELS[:1])
    dataset = read_idx_folder(tmp_path)
    assert dataset.kind == "idx"
    assert dataset.class_names == ("0", "1", "2", "3", "4", "5")
    assert dataset.has_index_labels
    assert dataset.labels.tolist() == [2, 0, 5, 2]
    assert dataset.labels.dtype == np.int64
    assert dataset.given_splits.tolist() == [0, 0, 0, 2]
    assert [dataset.images.name(i) for i in (0, 2, 3)] == ["train[0]", "train[2]", "test[0]"]
    np.testing.assert_array_equal(dataset.images.read(2), PIXELS[2][..., None])
    np.testing.assert_array_equal(dataset.images.read(3), PIXELS[0][..., None] + 100)
    assert len(dataset) == len(dataset.images) == 4


@pytest.mark.parametrize(("part", "split"), [("train", 0), ("t10k", 2)])
def test_one_pair_alone(tmp_path, part, split):
    write_pair(tmp_path, part)
    assert read_idx_folder(tmp_path).given_splits.tolist() == [split] * 3


def test_gzipped_and_with_a_dot_in_the_name(tmp_path):
    (tmp_path / "train-images.idx3-ubyte.gz").write_bytes(gzip.compress(idx(PIXELS), mtime=0))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(idx(LABELS))  # not gzipped, whatever it is called
    assert holds_idx(tmp_path)
    assert len(read_idx_folder(tmp_path)) == 3


def test_given_class_names(tmp_path):
    write_pair(tmp_path)
    dataset = read_idx_folder(tmp_path, class_names=("a", "b", "c", "d", "e", "f"))
    assert dataset.class_names[2] == "c"
    assert not dataset.has_index_labels
    with pytest.raises(DataError, match=r"has label 5 but there are only 2 classes$"):
        read_idx_folder(tmp_path, class_names=("a", "b"))


def test_half_a_pair(tmp_path):
    write_pair(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    message = r"has train-images-idx3-ubyte but not train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz; put both"
    with pytest.raises(DataError, match=message):
        read_idx_folder(tmp_path)


def test_counts_that_differ(tmp_path):
    write_pair(tmp_path, labels=LABELS[:2])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte has 3 images but .* has 2 labels$"):
        read_idx_folder(tmp_path)


def test_no_images_at_all(tmp_path):
    write_pair(tmp_path, images=PIXELS[:0], labels=LABELS[:0])
    with pytest.raises(DataError, match=r"hold no images$"):
        read_idx_folder(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"must begin with 00 00 08 but begins with $"),
        (b"PK\x03\x04", r"must begin with 00 00 08 but begins with 50 4b 03$"),
        (idx(LABELS), r"has 1 dimensions where 3 are expected; are images and labels mixed up\?$"),
        (idx(PIXELS)[:9], r"ends within its header; get it again$"),
        (idx(PIXELS)[:-1], r"should hold 24 bytes after its header but holds 23; get it again$"),
        (idx(PIXELS) + b"\0", r"should hold 24 bytes after its header but holds 25; get it again$"),
        (gzip.compress(idx(PIXELS), mtime=0)[:-9], r"is a damaged gzip file \(.*\); get it again$"),
        (
            gzip.compress(idx(PIXELS), mtime=0)[:15] + b"damaged damaged damaged",
            r"is a damaged gzip file \(.*\); get it again$",
        ),
        (b"\0\0\x08\x03" + b"\xff" * 12, r"should hold \d{29} bytes after its header but holds 0; get it again$"),
    ],
)
def test_damaged_files(tmp_path, data, message):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "file", num_dims=3)


def test_the_real_digits(shared_data):
    """Counts and first labels as the set's publishers and its README print them."""
    dataset = read_idx_folder(shared_data / "mnist")
    assert len(dataset) == 70_000
    assert dataset.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.labels[60_000:60_005].tolist() == [7, 2, 1, 0, 4]
    train = dataset.labels[dataset.given_splits == 0]
    assert np.bincount(train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert dataset.images.read(0).shape == (28, 28, 1)
