"""MNIST's file format, IDX: four files, gzipped or not, with pixels and labels of the training and the test part.

A file is two zero bytes, a type (8: unsigned bytes), the number of dimensions, each dimension as a big-endian uint32,
then the bytes.
"""

import gzip
import math
import struct
import zlib
from contextlib import nullcontext
from io import BufferedReader
from pathlib import Path

import numpy as np

from striate.data.dataset import Dataset
from striate.data.files import open_file
from striate.data.memory import DEFLATE_RATIO, check_memory
from striate.data.readers.access import ArrayImages, splits_of_parts
from striate.errors import DataError

_PREFIXES = {"train": "train", "test": "t10k"}


def holds_idx(folder: Path) -> bool:
    """Whether the folder holds any of the four files."""
    return any(_find(folder, part, kind) for part in _PREFIXES for kind in ("images", "labels"))


def read_idx_folder(folder: Path, *, class_names: tuple[str, ...] | None = None) -> Dataset:
    """The data set in a folder of IDX files; the train pair, the test pair or both. Pixels are held in memory.

    Without `class_names` the classes are "0", "1", ... up to the highest label. Raises DataError for half a pair,
    damaged files, counts that differ and labels without a name.
    """
    images, labels = [], []
    for part in _PREFIXES:
        images_path, labels_path = (_find(folder, part, kind) for kind in ("images", "labels"))
        if images_path and labels_path:
            pixels, numbers = read_idx(images_path, num_dims=3), read_idx(labels_path, num_dims=1)
            if len(pixels) != len(numbers):
                raise DataError(f"{images_path} has {len(pixels)} images but {labels_path} has {len(numbers)} labels")
            images.append((part, pixels))
            labels.append(numbers.astype(np.int64))
        elif found := images_path or labels_path:
            missing = _stem(part, "labels" if images_path else "images")
            raise DataError(f"{folder} has {found.name} but not {missing} or {missing}.gz; put both into the folder")
    all_labels = np.concatenate(labels)
    if not len(all_labels):
        raise DataError(f"the IDX files in {folder} hold no images")
    names = class_names or tuple(str(label) for label in range(all_labels.max() + 1))
    if all_labels.max() >= len(names):
        raise DataError(f"{folder} has label {all_labels.max()} but there are only {len(names)} classes")
    return Dataset(
        source=str(folder),
        kind="idx",
        class_names=names,
        images=ArrayImages(tuple(images)),
        labels=all_labels,
        given_splits=splits_of_parts(tuple(images)),
        has_index_labels=class_names is None,
        root=folder,
    )


def read_idx(path: Path, *, num_dims: int) -> np.ndarray:
    """The uint8 array of `num_dims` dimensions in one IDX file; DataError when it is no such file or damaged.

    Of a gzipped file no more is unpacked than its header promises, and nothing where it could not hold that.
    """
    try:
        with open_file(path) as file:
            is_packed = file.read(2) == b"\x1f\x8b"
            size_bytes = file.seek(0, 2)
            file.seek(0)
            with gzip.GzipFile(fileobj=file) if is_packed else nullcontext(file) as content:
                return _read_array(content, path, num_dims, size_bytes, is_packed=is_packed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}); get it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _read_array(
    content: BufferedReader | gzip.GzipFile, path: Path, num_dims: int, size_bytes: int, *, is_packed: bool
) -> np.ndarray:
    """The array of an unpacked file, which has `size_bytes` on disk."""
    start = content.read(4)
    if len(start) < 4 or start[:3] != b"\0\0\x08":
        raise DataError(
            f"{path} is not an IDX file of bytes: it must begin with 00 00 08 but begins with {start[:3].hex(' ')}"
        )
    if start[3] != num_dims:
        raise DataError(
            f"{path} has {start[3]} dimensions where {num_dims} are expected; are images and labels mixed up?"
        )
    dimensions = content.read(4 * num_dims)
    if len(dimensions) < 4 * num_dims:
        raise DataError(f"{path} ends within its header; get it again")
    shape = struct.unpack(f">{num_dims}I", dimensions)
    expected = math.prod(shape)
    promised = f"{path} should hold {expected} bytes after its header but"
    if not is_packed and size_bytes - 4 - 4 * num_dims != expected:
        raise DataError(f"{promised} holds {size_bytes - 4 - 4 * num_dims}; get it again")
    if expected > size_bytes * DEFLATE_RATIO:
        raise DataError(f"{promised} {size_bytes} packed bytes cannot be so many; get it again")
    if 0 in shape[1:]:
        raise DataError(f"{path} has images without pixels, {shape}; get it again")
    check_memory(expected, str(path))
    data = content.read(expected + 1)
    if len(data) != expected:
        raise DataError(f"{promised} holds {'more' if len(data) > expected else len(data)}; get it again")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape if expected else (0,) * num_dims)


def _stem(part: str, kind: str) -> str:
    return f"{_PREFIXES[part]}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"


def _find(folder: Path, part: str, kind: str) -> Path | None:
    """The file, under its official name or with the dot that some tools unpack it with, plain before gzipped."""
    stem = _stem(part, kind)
    for name in (stem, stem.replace("-idx", ".idx")):
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None
