"""Masks decoded once, resized like their images, kept as memory-mapped uint8 beside the packed images: (N, h, w)."""

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from striate.data.cache import cache_dir, write_atomically, writing_atomically
from striate.data.masks import IGNORED, Masks, resize_mask
from striate.data.parallel import map_in_order
from striate.errors import InputError, RunError
from striate.progress import Log, log_nothing

POLICY = 1
"""Part of every key; raised with every change to what decoding or resizing give."""
_NAMED = 3
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class PackedMasks:
    """`classes` (N, h, w) uint8, IGNORED where a pixel counts for nothing; read-only, and safe to read from several
    threads.

    `broken` are (index, reason) of masks that could not be read: all of theirs is IGNORED. `undeclared` counts the
    pixels of every value that no class has, in the masks' own pixels. `key` changes with any mask, its meaning and the
    size.
    """

    classes: np.ndarray
    broken: tuple[tuple[int, str], ...]
    undeclared: dict[int, int]
    key: str


def pack_masks(masks: Masks, size: tuple[int, int], *, log: Log = log_nothing) -> PackedMasks:
    """Every mask at (height, width) = `size`, from the cache where it was made before; what is wrong with them goes to
    `log`.

    RunError where the cache cannot be written.
    """
    key = f"{masks.digest()}-{size[0]}x{size[1]}-{POLICY}"
    folder = cache_dir() / "masks"
    packed = _read(folder, key, (len(masks), *size)) or _write(masks, size, folder, key)
    if packed.broken:
        named = "; ".join(f"{masks.files.name(index)} {reason}" for index, reason in packed.broken[:_NAMED])
        more = f" and {len(packed.broken) - _NAMED} more" if len(packed.broken) > _NAMED else ""
        log(f"masks that cannot be read, so that their images teach nothing: {named}{more}")
    if packed.undeclared:
        log(undeclared_line(packed.undeclared, masks.codes.kind == "color"))
    return packed


def undeclared_line(undeclared: dict[int, int], are_colors: bool) -> str:
    """What was found of values that no class has: the most frequent few, and that their pixels are left out."""
    most = sorted(undeclared.items(), key=lambda item: (-item[1], item[0]))[:_NAMED]
    words = ", ".join(f"{_shown(value, are_colors)} ({count:,} pixels)" for value, count in most)
    more = f" and {len(undeclared) - _NAMED} more" if len(undeclared) > _NAMED else ""
    return (
        f"values in masks that no class has, left out of loss and figures: {words}{more}; "
        "declare them in classes.csv, or say --ignore-index"
    )


def _shown(value: int, is_color: bool) -> str:
    return f"({value >> 16}, {value >> 8 & 255}, {value & 255})" if is_color else str(value)


def _paths(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"{key}.npy", folder / f"{key}.json"


def _read(folder: Path, key: str, shape: tuple[int, ...]) -> PackedMasks | None:
    """What was packed before; None where there is nothing whole."""
    pixels, about = _paths(folder, key)
    with suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads(about.read_text(encoding="utf-8"))
        classes = np.load(pixels, mmap_mode="r", allow_pickle=False)
        if classes.shape == shape and classes.dtype == np.uint8:
            broken = tuple((int(index), str(reason)) for index, reason in facts["broken"])
            return PackedMasks(classes, broken, {int(value): int(n) for value, n in facts["undeclared"].items()}, key)
    return None


def _write(masks: Masks, size: tuple[int, int], folder: Path, key: str) -> PackedMasks:
    """Decode in threads, a bounded number ahead; the file is whole or not there."""
    pixels, about = _paths(folder, key)
    broken: list[tuple[int, str]] = []
    undeclared: Counter[int] = Counter()
    try:
        with writing_atomically(pixels) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(masks), *size)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(masks), _CHUNK):
                indices = range(start, min(len(masks), start + _CHUNK))
                for index, (classes, unknown, reason) in zip(
                    indices, map_in_order(partial(_one, masks, size), indices), strict=True
                ):
                    file.write(np.ascontiguousarray(classes).tobytes())
                    undeclared.update(unknown)
                    if reason:
                        broken.append((index, reason))
        facts = {"broken": broken, "undeclared": {str(value): count for value, count in undeclared.items()}}
        write_atomically(about, json.dumps(facts).encode())
    except OSError as error:
        raise RunError(
            f"packed masks cannot be kept in {folder}: {error.strerror or error}; set STRIATE_CACHE to another folder"
        ) from error
    packed = _read(folder, key, (len(masks), *size))
    if packed is None:
        raise RunError(f"the packed masks in {folder} are gone; run again")
    return packed


def _one(masks: Masks, size: tuple[int, int], index: int) -> tuple[np.ndarray, dict[int, int], str]:
    try:
        classes, undeclared = masks.read(index)
    except InputError as error:
        return np.full(size, IGNORED, np.uint8), {}, str(error)
    except OSError as error:
        return np.full(size, IGNORED, np.uint8), {}, f"cannot be read ({error.strerror or error})"
    return resize_mask(classes, size), undeclared, ""
