"""Measures for a run's report what its images give without a network. Written to `baselines.json`."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from striate.baselines.baseline import measure_baselines
from striate.data.cache import write_in_run
from striate.data.packed import PreparedImages
from striate.errors import StriateError
from striate.evaluation.label_errors import pixel_rows, square_side

BASELINES_FILE = "baselines.json"
KINDS = ("majority", "knn_l2", "softmax")
_MOST_PIXELS = 12_000_000
"""Numbers that the fitted images may have: 4,000 colour images of 32 x 32, or 15,000 digits, which take a few seconds.
"""
_MOST_ASKED = 1_000


def write_baselines(
    run_dir: Path,
    packed: PreparedImages,
    fitted: np.ndarray,
    asked: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Write and give the accuracy of the majority class, nearest neighbours and softmax regression on pixels of the
    images `asked`.

    `fitted` and `asked` are indices of `packed`, `labels` (N,) those of all images; of both so many are drawn by the
    seed that it takes a few seconds at most. Images that cannot be compared get a notice instead of figures. RunError
    where the folder cannot be written.
    """
    began_at = time.perf_counter()
    panel: dict[str, Any] = {"features": "pixels"}
    draw = np.random.default_rng(seed)
    try:
        fitted, asked = (part[packed.usable[part]] for part in (fitted, asked))
        side = square_side(packed.shapes[fitted])
        most = max(100, _MOST_PIXELS // (side * side * (1 if packed.is_grey else packed.channels)))
        chosen = np.sort(draw.permutation(fitted)[:most])
        shown = np.sort(draw.permutation(asked)[:_MOST_ASKED])
        rows = pixel_rows(packed, np.concatenate([chosen, shown]), side)
        found = measure_baselines(
            rows[: len(chosen)],
            labels[chosen],
            np.arange(len(chosen)),
            rows[len(chosen) :],
            labels[shown],
            class_names,
            kinds=KINDS,
            seed=seed,
        )
        panel |= {
            "pixel_side": side,
            "num_fitted": len(chosen),
            "num_images": len(shown),
            "is_part": len(chosen) < len(fitted),
            "baselines": [asdict(each) for each in found.baselines],
        }
    except (StriateError, ValueError) as error:
        panel["notice"] = (str(error).splitlines() or ["?"])[0]
    panel["seconds"] = round(time.perf_counter() - began_at, 2)
    write_in_run(run_dir / BASELINES_FILE, json.dumps(panel, indent=1).encode())
    return panel
