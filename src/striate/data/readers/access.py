"""Random access to the images of a source: held in arrays, or in files below a folder."""

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS
from striate.data.files import read_regular_file

_ENDS = (b"\xff\xd9", b"\xaeB`\x82", b";")  # of JPEG, PNG, GIF: what follows is padding
_MOST_DIGITS = 1000
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")

MAX_FILE_BYTES = 1 << 30
"""A file of an image is read into memory whole; the largest photos have a tenth of that."""


@dataclass(frozen=True)
class ArrayImages:
    """Images held in memory or memory-mapped, in parts with a name each ("train", "test").

    A part is pixels (n, H, W) or (n, H, W, C) uint8, or encoded images as NumPy byte strings. NumPy drops zero bytes
    at the end of a byte string, which a file may need: unless an image ends as JPEG, PNG and GIF do, it is filled up
    with zeros to `width` bytes.
    """

    parts: tuple[tuple[str, np.ndarray], ...]

    def __len__(self) -> int:
        return sum(len(images) for _, images in self.parts)

    def name(self, index: int) -> str:
        part, place = self._find(index)
        return f"{self.parts[part][0]}[{place}]"

    def read(self, index: int) -> bytes | np.ndarray:
        part, place = self._find(index)
        image = self.parts[part][1][place]
        if isinstance(image, bytes):
            return bytes(image) if image.endswith(_ENDS) else image.ljust(self._width(), b"\0")
        return image[..., None] if image.ndim == 2 else image

    def _find(self, index: int) -> tuple[int, int]:
        """Part and place in it."""
        for number, (_, images) in enumerate(self.parts):
            if 0 <= index < len(images):
                return number, index
            index -= len(images)
        raise IndexError("no such image")

    def _width(self) -> int:
        """The longest byte string of any part, so that equal images are equal in all of them."""
        return max(images.dtype.itemsize for _, images in self.parts)


@dataclass(frozen=True)
class FileImages:
    """Images in files below `root`; `paths` are relative to it, with forward slashes."""

    root: Path
    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return printable(self.paths[index])

    def read(self, index: int) -> bytes:
        try:
            return read_regular_file(self.root / self.paths[index], MAX_FILE_BYTES)
        except MemoryError:
            raise OSError(errno.ENOMEM, "needs more memory than there is") from None


def printable(name: str) -> str:
    """A file's name as text that can be written anywhere: bytes that are not UTF-8, and surrogates that stand for no
    byte, become the replacement character.
    """
    return os.fsencode(_NO_BYTE.sub("\N{REPLACEMENT CHARACTER}", name)).decode("utf-8", errors="replace")


def class_name_of(folder: str) -> str:
    """A folder's name as a class's: bytes that are not UTF-8 are spelt out (caf\\xe9), so that different names stay
    different.
    """
    return os.fsencode(folder).decode("utf-8", errors="backslashreplace")


def splits_of_parts(parts: tuple[tuple[str, np.ndarray], ...]) -> np.ndarray:
    """The given split of each image of parts that are named like splits: (N,) int8; NO_SPLIT for other names."""
    numbers = [SPLITS.index(name) if name in SPLITS else NO_SPLIT for name, _ in parts]
    return np.repeat(np.array(numbers, dtype=np.int8), [len(images) for _, images in parts])


def natural_order(names: Sequence[str]) -> list[str]:
    """Sorted by code point, or by value where all names are whole numbers (of no more digits than Python reads)."""
    if all(name.isdecimal() and len(name) <= _MOST_DIGITS for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)
