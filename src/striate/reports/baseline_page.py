"""The baselines of a source as one self-contained page: their accuracies side by side, and what linear weights look
like.
"""

from pathlib import Path
from typing import Any

import numpy as np

from striate.baselines.baseline import Baselines
from striate.baselines.linear_model import LINEAR, weight_images
from striate.reports.page import page_environment, write_page
from striate.reports.thumbnails import jpeg_address
from striate.version import __version__

_MOST_TILES = 40
_TILE_PX = 112


def baseline_page(found: Baselines) -> str:
    """The page as text."""
    environment = page_environment({})
    rows = [*found.baselines, *([found.network] if found.network else [])]
    page: str = environment.get_template("baseline.html.jinja").render(
        found=found, rows=rows, tiles=_tiles(found), version=__version__
    )
    return page


def write_baseline_page(found: Baselines, path: str | Path) -> Path:
    """Write the page, replacing what is there, and give its path. InputError where it cannot be written."""
    return write_page(path, baseline_page(found))


def _tiles(found: Baselines) -> list[dict[str, Any]]:
    """The weights of the better linear classifier as pictures, a class each: grey is no weight."""
    kinds = [each for each in found.baselines if each.kind in LINEAR]
    if found.pixel_side is None or not kinds:
        return []
    best = max(kinds, key=lambda each: each.accuracy)
    return [
        {"name": name, "kind": best.title, "uri": jpeg_address(weight_picture(tile))}
        for name, tile in zip(found.class_names, weight_images(found, best.kind)[:_MOST_TILES], strict=False)
    ]


def weight_picture(weights: np.ndarray) -> np.ndarray:
    """Weights (C, H, W) of one class as a picture (h, w, 3) uint8, scaled to 99 % of their own range, 0 being
    mid-grey.
    """
    scale = float(np.percentile(np.abs(weights), 99)) or 1.0
    levels = np.clip(127.5 + 127.5 * weights / scale, 0, 255).round().astype(np.uint8).transpose(1, 2, 0)
    picture = levels if levels.shape[2] == 3 else np.repeat(levels[..., :1], 3, axis=2)
    factor = max(1, _TILE_PX // max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
