"""Explanations as files: an overlay (PNG) and the raw map (npz) of each, and one sheet an image where there are several."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from striate.data.cache import write_atomically
from striate.errors import InputError
from striate.explanation.explain import Explanation
from striate.explanation.pictures import as_rgb, enlarged, overlay, sheet

_LONGEST_NAME = 60
_COLUMNS = 7


@dataclass(frozen=True)
class Written:
    """Where an explanation lies: its raw map and its overlay."""

    explanation: Explanation
    array: Path
    overlay: Path

    def to_json(self) -> dict[str, Any]:
        """{"path", "class", "class_index", "probability", "method", "layer", "array", "overlay", "seconds"}"""
        about = self.explanation
        return {
            "path": about.path,
            "class": about.class_name,
            "class_index": about.class_index,
            "probability": about.probability,
            "method": about.method.name,
            "layer": about.layer,
            "array": str(self.array),
            "overlay": str(self.overlay),
            "seconds": about.seconds,
        }


def write_explanations(
    folder: Path, number: int, explanations: Sequence[Explanation]
) -> tuple[list[Written], Path | None]:
    """Write the explanations of one image, the `number`-th, and give where they lie and, of several, their sheet.

    An npz holds `map`, (h, w) or (C, H, W) float32 as computed, `class_index` and `layer`, and needs no pickle. InputError where the
    folder cannot be written.
    """
    stem = f"{number:04d}-{file_name(Path(explanations[0].path).stem)}"
    written, tiles = [], {}
    for each in explanations:
        picture = overlay(each.pixels, each.method.to_plane(each.map), is_signed=each.method.is_signed)
        base = f"{stem}.{each.class_index}-{file_name(each.class_name)}.{each.method.name}"
        array = folder / f"{base}.npz"
        write_file(array, _npz(map=each.map, class_index=each.class_index, layer=each.layer or ""))
        place = folder / f"{base}.png"
        write_file(place, to_png(Image.fromarray(picture)))
        written.append(Written(each, array, place))
        tiles[each.class_index, each.method.name] = picture
    if len(explanations) < 2:
        return written, None
    path = folder / f"{stem}.sheet.png"
    write_file(path, to_png(_sheet(explanations, tiles)))
    return written, path


def _sheet(explanations: Sequence[Explanation], tiles: dict[tuple[int, str], np.ndarray]) -> Image.Image:
    """A row for each class: the image, then every method."""
    first = explanations[0]
    image = enlarged(as_rgb(first.pixels))
    rows: dict[int, list[tuple[str, np.ndarray]]] = {}
    for each in explanations:
        heading = f"{each.class_name}\n{100 * each.probability:.1f} %"
        row = rows.setdefault(each.class_index, [(heading, image)])
        row.append((f"{each.method.name}\n{each.layer or ''}", tiles[each.class_index, each.method.name]))
    wrapped = [row[start : start + _COLUMNS] for row in rows.values() for start in range(0, len(row), _COLUMNS)]
    return sheet(wrapped, title=Path(first.path).name)


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def to_png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def write_file(path: Path, content: bytes) -> None:
    """Write a file in one stroke, making its folder. InputError in one line where the disk is full or the folder forbids it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; name another folder with --out"
        ) from None


def file_name(text: str) -> str:
    """Letters, digits, dashes and underscores of a text, safe as part of a file name on every system."""
    return re.sub(r"[^\w-]+", "-", text, flags=re.ASCII).strip("-")[:_LONGEST_NAME] or "image"
