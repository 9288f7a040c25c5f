"""A data set in one `.npz` file: x_train and y_train, and as many of x_val, y_val, x_test, y_test and classes as
there are.

Images are pixels (n, H, W) or (n, H, W, C), integers 0..255 or floating point in [0, 1] (scaled by 255 and rounded),
or encoded images (JPEG, PNG, ...) as byte strings. Labels are whole numbers (n,) or (n, 1), or names. `classes` gives
names to the numbers; without it they are called by their number. Pickled objects are refused.
"""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from striate.data.dataset import Dataset
from striate.data.files import open_file
from striate.data.memory import DEFLATE_RATIO, check_memory
from striate.data.readers.access import ArrayImages, natural_order, splits_of_parts
from striate.errors import DataError

_PARTS = {"train": "train", "val": "validation", "test": "test"}
_MAX_CLASSES = 1_000_000
_MOST_NAMED, _MOST_DIMENSIONS = 10, 32
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, ValueError, TypeError, struct.error,
    RuntimeError,
    SyntaxError, tokenize.TokenError, OverflowError, MemoryError, RecursionError, IndexError, AttributeError,
)  # fmt: skip
"""What zipfile and NumPy raise for bytes that are not what they should be."""


def read_npz(path: Path) -> Dataset:
    """The data set in an `.npz` file, in memory. Raises DataError with what is missing or wrong."""
    arrays = _load(path)
    suffixes = [suffix for suffix in _PARTS if f"x_{suffix}" in arrays or f"y_{suffix}" in arrays]
    images, labels = [], []
    for suffix in suffixes:
        for key in (f"x_{suffix}", f"y_{suffix}"):
            if key not in arrays:
                raise DataError(f"{path} has no {key}; images x_{suffix} and labels y_{suffix} belong together")
        part_images = _check_images(arrays[f"x_{suffix}"], f"{path}: x_{suffix}")
        part_labels = _check_labels(arrays[f"y_{suffix}"], f"{path}: y_{suffix}")
        if len(part_images) != len(part_labels):
            raise DataError(
                f"{path} has {len(part_images)} images in x_{suffix} but {len(part_labels)} labels in y_{suffix}"
            )
        images.append((_PARTS[suffix], part_images))
        labels.append(part_labels)
    if len({part_labels.dtype.kind for part_labels in labels}) > 1:
        raise DataError(f"{path} has labels of different kinds: numbers in one part and names in another")
    class_names, all_labels = _name_classes(np.concatenate(labels), arrays.get("classes"), path)
    return Dataset(
        source=str(path),
        kind="npz",
        class_names=class_names,
        images=ArrayImages(tuple(images)),
        labels=all_labels,
        given_splits=splits_of_parts(tuple(images)),
        has_index_labels="classes" not in arrays and labels[0].dtype.kind == "i",
        root=path.parent,
    )


def _load(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays the file holds that we know."""
    wanted = {"classes", *(f"{axis}_{suffix}" for axis in "xy" for suffix in _PARTS)}
    try:
        with open_file(path) as opened:
            if opened.read(2) != b"PK":
                raise DataError(f"{path} is not an .npz file; save images and labels with numpy.savez")
            opened.seek(0)
            with zipfile.ZipFile(opened) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                if not {"x_train", "x_val", "x_test"} & set(members):
                    names = ", ".join(list(members)[:_MOST_NAMED]) or "nothing"
                    raise DataError(f"{path} must hold x_train and y_train but holds {names}")
                known = {key: info for key, info in members.items() if key in wanted}
                for key, info in known.items():
                    _check_member(archive, info, key, opened.seek(0, 2), path)
                check_memory(sum(info.file_size for info in known.values()), str(path))
                return {key: _read_member(archive, info) for key, info in known.items()}
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path} is a damaged .npz file ({reason}); get it again") from error


def _check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, key: str, archive_bytes: int, path: Path) -> None:
    """Raise DataError unless the array can be as large as it says: from its header and the zip's directory, before any
    memory.
    """
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path}: {key} is encrypted or packed in a way that NumPy does not write; save it with numpy.savez"
        )
    most = info.compress_size * (1 if info.compress_type == zipfile.ZIP_STORED else DEFLATE_RATIO)
    if info.compress_size > archive_bytes or info.file_size > most:
        raise DataError(
            f"{path} is a damaged .npz file ({key} would unpack to {info.file_size:,} bytes from "
            f"{info.compress_size:,}); get it again"
        )
    with archive.open(info) as file:
        shape, dtype = _header(file)
        header_bytes = file.tell()
    if dtype.hasobject:
        raise DataError(
            f"{path} holds pickled objects, which can run code; save pixels as uint8 or images as byte strings"
        )
    declared, held = math.prod(shape) * dtype.itemsize, info.file_size - header_bytes
    if declared != held:
        raise DataError(
            f"{path} is a damaged .npz file ({key} declares {declared:,} bytes but holds {held:,}); get it again"
        )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array from the beginning of an .npy file."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of an array")
    # the third version differs in its alphabet alone, of which only names of fields make use
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if len(shape) > _MOST_DIMENSIONS or any(length < 0 for length in shape):
        raise ValueError(f"an array of shape {shape[:_MOST_DIMENSIONS]}")
    return shape, dtype


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _check_images(images: np.ndarray, what: str) -> np.ndarray:
    """Pixels as uint8 (n, H, W) or (n, H, W, C), or encoded images (n,)."""
    if len(images.shape) == 0 or len(images) == 0:
        raise DataError(f"{what} holds no images")
    if images.dtype.kind == "S":
        if images.ndim != 1:
            raise DataError(f"{what} must be a list of encoded images but has shape {images.shape}")
        return images
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(f"{what} must be pixels (n, H, W) or (n, H, W, C) but has shape {images.shape}")
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] > 4:
        raise DataError(f"{what} has shape {images.shape}, channels before height; store it as (n, H, W, C)")
    return _to_uint8(images, what)


def _to_uint8(pixels: np.ndarray, what: str) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "iuf":
        raise DataError(
            f"{what} has type {pixels.dtype}; store pixels as uint8 0..255, or encoded images as byte strings"
        )
    low, high = pixels.min(), pixels.max()
    top = 1 if pixels.dtype.kind == "f" else 255
    if not (low >= 0 and high <= top):
        raise DataError(
            f"{what} is {pixels.dtype} from {low:g} to {high:g}; store pixels as integers 0..255 or floats in [0, 1]"
        )
    return np.rint(pixels * 255.0).astype(np.uint8) if top == 1 else pixels.astype(np.uint8)


def _check_labels(labels: np.ndarray, what: str) -> np.ndarray:
    """(n,) int64, or strings."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(
            f"{what} must be one label an image, (n,), but has shape {labels.shape}; if one-hot, store the argmax"
        )
    if labels.dtype.kind in "SU":
        return _as_text(labels, what)
    if labels.dtype.kind not in "iu":
        raise DataError(f"{what} must be whole numbers or names but has type {labels.dtype}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < _MAX_CLASSES):
        raise DataError(f"{what} must be class numbers from 0 up but runs from {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)


def _as_text(names: np.ndarray, what: str) -> np.ndarray:
    """Names as strings; DataError for bytes that are not UTF-8, and for text that cannot be written."""
    try:
        text = np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names
        if text.dtype.kind == "U":
            np.char.encode(text, "utf-8")
    except UnicodeError as error:
        raise DataError(f"{what} holds names that are not UTF-8 text ({error}); save them as strings") from error
    return text


def _name_classes(labels: np.ndarray, names: np.ndarray | None, path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """(class names, labels (N,) int64 that index them)."""
    if names is None and labels.dtype.kind == "i":
        return tuple(str(number) for number in range(labels.max() + 1)), labels
    if names is None:
        class_names = natural_order(sorted({str(label) for label in labels}))
    elif names.ndim != 1 or names.dtype.kind not in "SUiu":
        raise DataError(f"{path}: classes must be a list of names but is {names.dtype} of shape {names.shape}")
    else:
        class_names = [str(name) for name in _as_text(names, f"{path}: classes")]
    if len(set(class_names)) < len(class_names):
        raise DataError(f"{path}: classes names a class twice; each name must be there once")
    if labels.dtype.kind == "i":
        if labels.max() >= len(class_names):
            raise DataError(f"{path} has label {labels.max()} but classes gives only {len(class_names)} names")
        return tuple(class_names), labels
    places = {name: place for place, name in enumerate(class_names)}
    if unknown := sorted({str(label) for label in labels} - set(places)):
        raise DataError(f"{path} has label {unknown[0]!r}, which is not among its classes")
    return tuple(class_names), np.array([places[str(label)] for label in labels], dtype=np.int64)
