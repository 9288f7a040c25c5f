"""CIFAR-10 and CIFAR-100 from their official binary files; never from their Python pickles, which can run code.

A record is one label byte (CIFAR-100: coarse, then fine) and 3 x 32 x 32 bytes: red, green, blue planes, row by row.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from striate.data.dataset import SPLITS, Dataset
from striate.data.readers.access import ArrayImages
from striate.errors import DataError

_SIDE = 32
_NUM_PIXELS = 3 * _SIDE * _SIDE


@dataclass(frozen=True)
class _Layout:
    """The files of one of the two sets."""

    name: str
    train: tuple[str, ...]
    test: str
    class_names: str
    num_labels: int
    pickle: str
    archive: str


_LAYOUTS = (
    _Layout(
        name="CIFAR-10",
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test="test_batch.bin",
        class_names="batches.meta.txt",
        num_labels=1,
        pickle="batches.meta",
        archive="cifar-10-binary.tar.gz",
    ),
    _Layout(
        name="CIFAR-100",
        train=("train.bin",),
        test="test.bin",
        class_names="fine_label_names.txt",
        num_labels=2,
        pickle="meta",
        archive="cifar-100-binary.tar.gz",
    ),
)


def holds_cifar(folder: Path, *, name: str | None = None) -> bool:
    """Whether the folder holds CIFAR's binary files or its pickles (which `read_cifar_folder` refuses with advice).

    `name` "CIFAR-10" or "CIFAR-100" asks for that one alone.
    """
    return _binary_layout(folder, name) is not None or _pickle_layout(folder, name) is not None


def read_cifar_folder(folder: Path, *, name: str | None = None) -> Dataset:
    """The data set in a folder of CIFAR's binary files, memory-mapped: all training files, the test file, or both.

    Raises DataError for pickles, missing training files, files of the wrong length and labels without a name.
    """
    layout = _binary_layout(folder, name)
    if layout is None:
        found = _pickle_layout(folder, name)
        if found is None:
            raise DataError(f"{folder} holds no binary files of {name or 'CIFAR'}")
        raise DataError(
            f"{folder} holds {found.name}'s Python pickles, which can run code; get {found.archive} from the same page"
        )
    present = [file for file in layout.train if (folder / file).is_file()]
    if present and len(present) < len(layout.train):
        missing = next(file for file in layout.train if file not in present)
        raise DataError(f"{folder} has {len(present)} of {len(layout.train)} training files; {missing} is missing")
    class_names = _read_class_names(folder, layout)
    files = [(file, "train") for file in present] + [(layout.test, "test")] * (folder / layout.test).is_file()
    records = [_read_records(folder / file, layout, len(class_names)) for file, _ in files]
    splits = np.array([SPLITS.index(split) for _, split in files], dtype=np.int8)
    return Dataset(
        source=str(folder),
        kind="cifar-binary",
        class_names=class_names,
        images=ArrayImages(
            tuple((file, _images(rows, layout)) for (file, _), rows in zip(files, records, strict=True))
        ),
        labels=np.concatenate([_labels(rows, layout) for rows in records]),
        given_splits=np.repeat(splits, [len(rows) for rows in records]),
        root=folder,
    )


def _read_records(path: Path, layout: _Layout, num_classes: int) -> np.ndarray:
    """The file memory-mapped: (n, labels and pixels) uint8."""
    length = layout.num_labels + _NUM_PIXELS
    size_bytes = path.stat().st_size
    if size_bytes == 0 or size_bytes % length:
        raise DataError(f"{path} has {size_bytes} bytes, not a multiple of {length}; get {layout.archive} again")
    records = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, length)
    highest = _labels(records, layout).max()
    if highest >= num_classes:
        raise DataError(f"{path} has label {highest} but {layout.class_names} names only {num_classes} classes")
    return records


def _labels(records: np.ndarray, layout: _Layout) -> np.ndarray:
    return np.array(records[:, layout.num_labels - 1], dtype=np.int64)


def _images(records: np.ndarray, layout: _Layout) -> np.ndarray:
    """A view (n, 32, 32, 3) of the planes in the records."""
    planes = np.asarray(records)[:, layout.num_labels :].reshape(-1, 3, _SIDE, _SIDE)
    return planes.transpose(0, 2, 3, 1)


def _read_class_names(folder: Path, layout: _Layout) -> tuple[str, ...]:
    """One name a line; the official file ends in an empty line."""
    path = folder / layout.class_names
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} with the names of the classes cannot be read; it is part of {layout.archive}"
        ) from error
    if len(set(names)) < len(names) or not names:
        raise DataError(f"{path} must name every class once; it is part of {layout.archive}")
    return names


def _binary_layout(folder: Path, name: str | None) -> _Layout | None:
    for layout in _LAYOUTS:
        if name in (None, layout.name) and any((folder / file).is_file() for file in (*layout.train, layout.test)):
            return layout
    return None


def _pickle_layout(folder: Path, name: str | None) -> _Layout | None:
    """The set whose pickles lie there; they have the binary files' names without the ending."""
    for layout in (layout for layout in _LAYOUTS if name in (None, layout.name)):
        stems = [file.removesuffix(".bin") for file in (*layout.train, layout.test)]
        if (folder / layout.pickle).is_file() and any((folder / stem).is_file() for stem in stems):
            return layout
    return None
