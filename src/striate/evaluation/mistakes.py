"""The worst mistakes as pictures, for the report."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from striate.data.cache import write_atomically
from striate.data.packed import PreparedImages
from striate.data.preprocessing import Preprocessing, crop_center
from striate.errors import RunError
from striate.tasks.task import Mistake, Task


def write_mistakes(
    run_dir: Path,
    mistakes: Sequence[Mistake],
    packed: PreparedImages,
    preprocessing: Preprocessing,
    name_of: Callable[[int], str],
    task: Task,
    *,
    kind: str = "mistakes",
) -> list[dict[str, Any]]:
    """Write what the network saw of each mistake to mistakes/0.png, 1.png, ... and give their entries for
    evaluation.json; `kind` names another folder, for other answers.

    An entry is {"picture", "name", ...} with what the task says of the mistake; `name_of(index)` is what the user calls
    the image. Pictures longer than `task.picture_px` are made smaller; those of an earlier evaluation go. RunError
    where writing fails.
    """
    folder = run_dir / kind
    try:
        for old in folder.glob("*.png"):
            old.unlink()
        for place, mistake in enumerate(mistakes):
            pixels = task.picture(crop_center(packed.image(mistake.index), preprocessing.crop_size), mistake)
            write_atomically(folder / f"{place}.png", _png_of(pixels, task.picture_px))
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}; free some space and evaluate again") from None
    return [
        {
            "picture": f"{kind}/{place}.png",
            "name": name_of(mistake.index),
            **{name: value for name, value in mistake.to_json().items() if name != "index"},
        }
        for place, mistake in enumerate(mistakes)
    ]


def _png_of(pixels: np.ndarray, longest_px: int) -> bytes:
    """A PNG of pixels (h, w, C): colour where C is 3, else the first channel as grey."""
    picture = Image.fromarray(np.ascontiguousarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]))
    picture.thumbnail((longest_px, longest_px))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
