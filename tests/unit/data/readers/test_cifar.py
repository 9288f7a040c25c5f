import pickle
from pathlib import Path

import numpy as np
import pytest

from striate.data.readers.cifar import holds_cifar, read_cifar_folder
from striate.errors import DataError

NAMES_10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def record(*labels: int, red: int = 1, green: int = 2, blue: int = 3) -> bytes:
    """One image whose upper left pixel differs from the rest in red and whose upper right one differs in blue."""
    planes = np.zeros((3, 32, 32), dtype=np.uint8)
    planes[0], planes[1], planes[2] = red, green, blue
    planes[0, 0, 0] = 100
    planes[2, 0, 31] = 200
    return bytes(labels) + planes.tobytes()


def write_cifar10(folder: Path) -> None:
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(record(number) + record(0, green=number))
    (folder / "test_batch.bin").write_bytes(record(9))
    (folder / "batches.meta.txt").write_text("\n".join(NAMES_10) + "\n\n")


def test_cifar10(tmp_path):
    write_cifar10(tmp_path)
    dataset = read_cifar_folder(tmp_path)
    assert dataset.kind == "cifar-binary"
    assert dataset.class_names == tuple(NAMES_10)
    assert dataset.labels.tolist() == [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 9]
    assert dataset.given_splits.tolist() == [0] * 10 + [2]
    assert dataset.images.name(3) == "data_batch_2.bin[1]"
    pixels = dataset.images.read(3)
    assert pixels.shape == (32, 32, 3)
    assert pixels[0, 0].tolist() == [100, 2, 3]
    assert pixels[0, 31].tolist() == [1, 2, 200]
    assert pixels[31, 0].tolist() == [1, 2, 3]


def test_cifar100_has_fine_classes(tmp_path):
    (tmp_path / "train.bin").write_bytes(record(7, 1) + record(7, 0))
    (tmp_path / "test.bin").write_bytes(record(7, 1))
    (tmp_path / "fine_label_names.txt").write_text("apple\naquarium_fish\n")
    dataset = read_cifar_folder(tmp_path)
    assert dataset.class_names == ("apple", "aquarium_fish")
    assert dataset.labels.tolist() == [1, 0, 1]
    assert dataset.given_splits.tolist() == [0, 0, 2]
    assert holds_cifar(tmp_path, name="CIFAR-100")
    assert not holds_cifar(tmp_path, name="CIFAR-10")


def test_the_test_file_alone(tmp_path):
    write_cifar10(tmp_path)
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}.bin").unlink()
    assert read_cifar_folder(tmp_path).given_splits.tolist() == [2]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ("data_batch_1", "test_batch", "batches.meta"),
            r"holds CIFAR-10's Python pickles.*; get cifar-10-binary.tar.gz",
        ),
        (("train", "test", "meta"), r"holds CIFAR-100's Python pickles.*; get cifar-100-binary.tar.gz"),
    ],
)
def test_pickles_are_refused_and_not_opened(tmp_path, files, message):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    for file in files:
        (tmp_path / file).write_bytes(pickle.dumps(Bomb()))
    assert holds_cifar(tmp_path)
    with pytest.raises(DataError, match=message):
        read_cifar_folder(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_folder_of_something_else(tmp_path):
    assert not holds_cifar(tmp_path)
    with pytest.raises(DataError, match=r"holds no binary files of CIFAR-10$"):
        read_cifar_folder(tmp_path, name="CIFAR-10")


def test_a_missing_training_file(tmp_path):
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(DataError, match=r"has 4 of 5 training files; data_batch_3.bin is missing$"):
        read_cifar_folder(tmp_path)


@pytest.mark.parametrize("data", [b"", record(1)[:-1], record(1) + b"\0"])
def test_a_file_of_the_wrong_length(tmp_path, data):
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_2.bin").write_bytes(data)
    with pytest.raises(
        DataError, match=rf"{len(data)} bytes, not a multiple of 3073; get cifar-10-binary.tar.gz again$"
    ):
        read_cifar_folder(tmp_path)


def test_a_label_without_a_name(tmp_path):
    write_cifar10(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(record(10))
    with pytest.raises(DataError, match=r"has label 10 but batches.meta.txt names only 10 classes$"):
        read_cifar_folder(tmp_path)


def test_missing_or_doubled_names(tmp_path):
    write_cifar10(tmp_path)
    (tmp_path / "batches.meta.txt").write_text("cat\ncat\n")
    with pytest.raises(DataError, match=r"must name every class once; it is part of cifar-10-binary.tar.gz$"):
        read_cifar_folder(tmp_path)
    (tmp_path / "batches.meta.txt").unlink()
    with pytest.raises(DataError, match=r"with the names of the classes cannot be read; it is part of"):
        read_cifar_folder(tmp_path)
