"""Explanations as files: an overlay (PNG) and the raw map (npz) of each, and one sheet an image where there are
several.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from striate.data.cache import write_atomically
from striate.errors import InputError
from striate.explanation.cutout import cut_out, on_nothing
from striate.explanation.explain import Explanation
from striate.explanation.measure import as_inputs
from striate.explanation.pictures import as_rgb, enlarged, overlay, sheet
from striate.explanation.saliency import saliency
from striate.explanation.sanity import SanityCheck
from striate.tasks.model import Model
from striate.units import percent

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

    An npz holds `map`, (h, w) or (C, H, W) float32 as computed, `class_index` and `layer`, and needs no pickle.
    InputError where the folder cannot be written.
    """
    stem = f"{number:04d}-{file_name(Path(explanations[0].path).stem)}"
    written, tiles = [], {}
    for each in explanations:
        picture = overlay(each.pixels, each.method.to_plane(each.map), is_signed=each.method.is_signed)
        base = f"{stem}.{each.class_index}-{file_name(each.class_name)}.{each.method.name}"
        array = folder / f"{base}.npz"
        write_file(array, npz(map=each.map, class_index=each.class_index, layer=each.layer or ""))
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
        heading = f"{each.class_name}\n{percent(each.probability, 1)}"
        row = rows.setdefault(each.class_index, [(heading, image)])
        row.append((f"{each.method.name}\n{each.layer or ''}", tiles[each.class_index, each.method.name]))
    wrapped = [row[start : start + _COLUMNS] for row in rows.values() for start in range(0, len(row), _COLUMNS)]
    return sheet(wrapped, title=Path(first.path).name)


def write_sanity(folder: Path, checks: Sequence[SanityCheck]) -> Path:
    """A picture of the sanity check: a row for each method, the first image's maps while the weights are shuffled."""
    rows = []
    for check in checks:
        captions = ["as trained", *(f"down to {layer}" for layer in check.layers)]
        figures = ["", *(f"{similarity:.2f}" for similarity in check.similarities)]
        tiles = [overlay(np.full((*plane.shape, 1), 40, np.uint8), np.abs(plane)) for plane in check.planes]
        words = (f"{check.method}\n{caption}  {figure}" for caption, figure in zip(captions, figures, strict=True))
        rows.append(list(zip(words, [_resized(tile) for tile in tiles], strict=True)))
    path = folder / "sanity.png"
    write_file(path, to_png(sheet(rows, title="Maps while weights are shuffled from the head down")))
    return path


def _resized(tile: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(tile).resize((160, round(160 * tile.shape[0] / tile.shape[1]))))


def write_cut_out(folder: Path, number: int, model: Model, explanation: Explanation) -> dict[str, str]:
    """The object of an explanation's class, cut out by its saliency: {"path", "mask", "picture"}, black and white, and
    RGBA.
    """
    pixels = explanation.pixels
    labels = torch.tensor([explanation.class_index])
    plane = saliency(model.network, as_inputs(model, [pixels]), classes=labels)[0].cpu().numpy()
    mask = cut_out(pixels, plane)
    image, class_name = file_name(Path(explanation.path).stem), file_name(explanation.class_name)
    stem = f"{number:04d}-{image}.{explanation.class_index}-{class_name}"
    places = {"mask": folder / f"{stem}.mask.png", "picture": folder / f"{stem}.cut-out.png"}
    write_file(places["mask"], to_png(Image.fromarray(255 * mask.astype(np.uint8))))
    write_file(places["picture"], to_png(Image.fromarray(on_nothing(pixels, mask))))
    return {"path": explanation.path} | {name: str(place) for name, place in places.items()}


def npz(**arrays: Any) -> bytes:
    """The bytes of an npz file with these arrays; no pickle is needed to read it."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def to_png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def write_file(path: Path, content: bytes) -> None:
    """Write a file in one stroke, making its folder. InputError in one line where the disk is full or the folder
    forbids it.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror or error}; name another folder with --out"
        ) from None


def file_name(text: str) -> str:
    """Letters, digits, dashes and underscores of a text, safe as part of a file name on every system."""
    return re.sub(r"[^\w-]+", "-", text, flags=re.ASCII).strip("-")[:_LONGEST_NAME] or "image"
