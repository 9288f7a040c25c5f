"""Accuracy under corruptions as a part of a run's report: what `evaluate --corruptions` measured, its curve and example
strip.
"""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from striate.data.cache import write_in_run
from striate.reports import figures

if TYPE_CHECKING:
    from striate.evaluation.corrupted import CorruptedEvaluation

CORRUPTIONS_FILE, EXAMPLES_FOLDER = "corruptions.json", "corruptions"
_TILE_PX = 128


def write_corruptions(run_dir: Path, found: "CorruptedEvaluation") -> None:
    """Write the figures to `corruptions.json` and the examples as PNGs into a run folder. RunError where that cannot
    be.
    """
    values = found.to_json()
    for name, image in found.examples.items():
        picture = f"{EXAMPLES_FOLDER}/{name.replace(' ', '_')}.png"
        write_in_run(run_dir / picture, _png(image))
        values.setdefault("examples", []).append({"name": name.replace("_", " "), "picture": picture})
    write_in_run(run_dir / CORRUPTIONS_FILE, json.dumps(values, indent=1).encode())


def corruption_values(panel: dict[str, Any]) -> dict[str, Any]:
    """What the report shows of the file: the curve, and a row for each corruption with its five accuracies."""
    names = list(dict.fromkeys(row["corruption"] for row in panel["rows"]))
    table = [
        {
            "name": name.replace("_", " "),
            "accuracies": [row["accuracy"] for row in panel["rows"] if row["corruption"] == name],
        }
        for name in names
    ]
    return {**panel, "table": table, "chart": Markup(figures.corruption_curves(panel["by_group"]))}


def _png(image: np.ndarray) -> bytes:
    factor = max(1, _TILE_PX // max(image.shape[:2]))
    enlarged = Image.fromarray(np.ascontiguousarray(image.repeat(factor, axis=0).repeat(factor, axis=1)))
    enlarged.thumbnail((_TILE_PX, _TILE_PX))
    data = io.BytesIO()
    enlarged.save(data, "png", optimize=True)
    return data.getvalue()
