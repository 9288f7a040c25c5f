"""One self-contained HTML page about an attack: accuracy against epsilon, images before and after, which class became
which.
"""

import base64
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from striate.reports.figures import robustness_curve
from striate.reports.page import page_environment, write_page
from striate.robustness.outcome import AttackOutcome
from striate.version import __version__

MOST_SHOWN = 24
MOST_PAIRS = 12
_GAIN = 10
_SMALLEST_SIDE = 96


def write_attack_page(outcome: AttackOutcome, path: str | Path, *, model: str = "") -> Path:
    """Write the page to `path`, replacing what is there, and give the path. InputError where it cannot be written."""
    return write_page(path, attack_page(outcome, model=model))


def attack_page(outcome: AttackOutcome, *, model: str = "") -> str:
    """The page as text."""
    environment = page_environment({"number": lambda value: f"{value:.4g}"})
    figures = outcome.to_json()
    page: str = environment.get_template("attack.html.jinja").render(
        model=model,
        figures=figures,
        epsilon=_in_words(outcome),
        pairs=_pairs(outcome),
        rows=_rows(outcome),
        gain=_GAIN,
        curve=Markup(robustness_curve(outcome.curve, outcome.epsilon)) if len(outcome.curve) > 1 else None,
        has_colour=outcome.images.shape[1] in (1, 3),
        version=__version__,
    )
    return page


def _in_words(outcome: AttackOutcome) -> str:
    scaled = outcome.epsilon * 255
    if outcome.norm == "linf" and scaled > 0.5 and abs(scaled - round(scaled)) < 1e-6:
        return f"{round(scaled)}/255"
    return f"{outcome.epsilon:.4g}"


def _fooled(outcome: AttackOutcome) -> list[int]:
    rows: list[int] = (outcome.was_correct & ~outcome.is_robust).nonzero()[:, 0].tolist()
    return rows


def _pairs(outcome: AttackOutcome) -> list[dict[str, Any]]:
    """The commonest changes of answer: label, the new prediction, how often."""
    counts = Counter((int(outcome.labels[row]), int(outcome.after[row])) for row in _fooled(outcome))
    return [
        {"label": outcome.class_names[label], "after": outcome.class_names[after], "count": count}
        for (label, after), count in counts.most_common(MOST_PAIRS)
    ]


def _rows(outcome: AttackOutcome) -> list[dict[str, Any]]:
    """A few fooled images, spread evenly over all: pictures of the original, the change and the result."""
    fooled = _fooled(outcome)
    chosen = fooled[:: max(1, len(fooled) // MOST_SHOWN)][:MOST_SHOWN]
    return [
        {
            "name": outcome.names[row],
            "before": outcome.class_names[int(outcome.before[row])],
            "after": outcome.class_names[int(outcome.after[row])],
            "size": outcome.sizes[row].item(),
            "original": picture(outcome.originals[row]),
            "change": picture(0.5 + _GAIN * (outcome.images[row] - outcome.originals[row])),
            "result": picture(outcome.images[row]),
        }
        for row in chosen
        if outcome.images.shape[1] in (1, 3)
    ]


def picture(image: Tensor) -> str:
    """An image (C, H, W) in [0, 1], grey or RGB, as the address of a PNG; small ones enlarged by whole factors."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    factor = max(1, -(-_SMALLEST_SIDE // max(pixels.shape[:2])))
    pixels = np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1)
    data = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(data, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
