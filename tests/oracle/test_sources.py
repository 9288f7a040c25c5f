"""Scanning and splitting against torchvision's data sets and scikit-learn's stratified split."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import StratifiedShuffleSplit
from torchvision.datasets import CIFAR10, MNIST, ImageFolder

from striate.data.dataset import Dataset
from striate.data.hashing import hash_images
from striate.data.readers.access import ArrayImages
from striate.data.readers.cifar import read_cifar_folder
from striate.data.readers.folder import read_folder
from striate.data.readers.idx import read_idx_folder
from striate.data.splits import split_dataset


@pytest.mark.parametrize("name", ["flowers/train", "hymenoptera/val"])
def test_folders_as_image_folder(shared_data, name):
    expected = ImageFolder(str(shared_data / name))
    dataset = read_folder(shared_data / name)
    assert list(dataset.class_names) == expected.classes
    ours = {(dataset.images.name(i), int(dataset.labels[i])) for i in range(len(dataset))}
    theirs = {(Path(path).relative_to(shared_data / name).as_posix(), label) for path, label in expected.samples}
    assert ours == theirs


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable:UserWarning")  # torchvision's own reading
def test_idx_as_mnist(shared_data, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (shared_data / "fashion-mnist-mini").glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    dataset = read_idx_folder(shared_data / "fashion-mnist-mini")
    for split, is_train in ((0, True), (2, False)):
        expected = MNIST(str(tmp_path), train=is_train)
        indices = np.flatnonzero(dataset.given_splits == split)
        assert dataset.labels[indices].tolist() == expected.targets.tolist()
        ours = np.stack([dataset.images.read(int(i))[..., 0] for i in indices])
        np.testing.assert_array_equal(ours, expected.data.numpy())


class UncheckedCIFAR10(CIFAR10):
    """Reads batches that are not the published ones."""

    def _check_integrity(self) -> bool:
        return True

    def _load_meta(self) -> None:
        self.classes = []


def test_binary_cifar_as_the_same_images_in_pickles(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "cifar-10-batches-py").mkdir()
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    for name in names:
        rows = generator.integers(0, 256, (4, 3072), dtype=np.uint8)
        labels = generator.integers(0, 10, 4)
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(pickle.dumps({"data": rows, "labels": labels.tolist()}))
        records = np.concatenate([labels[:, None].astype(np.uint8), rows], axis=1)
        (tmp_path / f"{name}.bin").write_bytes(records.tobytes())
    (tmp_path / "batches.meta.txt").write_text("\n".join(f"class {number}" for number in range(10)))
    dataset = read_cifar_folder(tmp_path)
    for split, is_train in ((0, True), (2, False)):
        expected = UncheckedCIFAR10(str(tmp_path), train=is_train)
        indices = np.flatnonzero(dataset.given_splits == split)
        assert dataset.labels[indices].tolist() == expected.targets
        np.testing.assert_array_equal(np.stack([dataset.images.read(int(i)) for i in indices]), expected.data)


@pytest.mark.parametrize("counts", [(100, 100, 100), (83, 41, 17), (500, 30, 12, 11, 9), (60,) * 30])
def test_classes_give_as_many_as_in_scikit_learn(counts):
    """Largest remainders on both sides; only equal remainders may fall to other classes."""
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.stack(np.divmod(np.arange(len(labels)), 256), axis=-1).astype(np.uint8)[:, None]
    dataset = Dataset(
        source="here",
        kind="npz",
        class_names=tuple(f"class {number}" for number in range(len(counts))),
        images=ArrayImages((("image", pixels),)),
        labels=labels,
        given_splits=np.full(len(labels), -1, dtype=np.int8),
    )
    splits = split_dataset(
        dataset, hash_images(dataset), np.ones(len(labels), bool), seed=3, validation_fraction=0.2, test_fraction=0
    )
    (_, expected), *_ = StratifiedShuffleSplit(1, test_size=len(splits.validation), random_state=0).split(
        labels, labels
    )
    ours, theirs = np.bincount(labels[splits.validation]), np.bincount(labels[expected])
    assert len(splits.validation) == round(0.2 * len(labels))
    assert ours.sum() == theirs.sum()
    assert np.abs(ours - theirs).max() <= 1
    shares = np.array(counts) * 0.2
    assert np.abs(ours - shares).max() < 1
