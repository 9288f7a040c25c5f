"""Images that are probably of no use: blank, dark, overexposed, blurred, tiny, oddly shaped, with other channels than the rest."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from striate.data.checks.sketch import ImageSketch

BLANK_SPREAD = 2.0
DARK_FRACTION = BRIGHT_FRACTION = 0.9
BLUR_SHARPNESS, FEW_PIXELS = 2.5, 64
TINY_FACTOR, ODD_ASPECT = 4, 3.0
_USUAL_FRACTION = 0.95


def flaws(sketches: Sequence[ImageSketch | None]) -> dict[str, list[int]]:
    """Flaw -> places of the images that have it, N sketches, None for an image that cannot be read.

    blank: standard deviation of grey below 2 of 255. dark, overexposed: nine tenths of the pixels below 16, above 239. blurred: standard
    deviation of the Laplacian below 2.5 with the longer side at 256 pixels, images under 64 pixels aside. tiny: a side less than a
    quarter of the median one. oddly shaped: longer by 3 to 1, or by 3 times the median ratio. other channels: a mode that less than 5 %
    have where another is usual.
    """
    found: dict[str, list[int]] = {name: [] for name in FLAWS}
    readable = [(place, sketch) for place, sketch in enumerate(sketches) if sketch is not None]
    if not readable:
        return found
    median_side = float(np.median([min(sketch.facts.height, sketch.facts.width) for _, sketch in readable]))
    median_ratio = float(np.median([_ratio(sketch) for _, sketch in readable]))
    (usual_mode, num_usual), *_ = Counter(sketch.facts.mode for _, sketch in readable).most_common(1)
    for place, sketch in readable:
        side = min(sketch.facts.height, sketch.facts.width)
        is_blank = sketch.spread < BLANK_SPREAD
        signs = {
            "blank": is_blank,
            "dark": sketch.dark > DARK_FRACTION and not is_blank,
            "overexposed": sketch.bright > BRIGHT_FRACTION and not is_blank,
            "blurred": sketch.sharpness < BLUR_SHARPNESS and side >= FEW_PIXELS and not is_blank,
            "tiny": side * TINY_FACTOR < median_side,
            "oddly shaped": _ratio(sketch) > ODD_ASPECT * max(1.0, median_ratio),
            "other channels": sketch.facts.mode != usual_mode and num_usual >= _USUAL_FRACTION * len(readable),
        }
        for name, is_so in signs.items():
            if is_so:
                found[name].append(place)
    return found


FLAWS = ("blank", "dark", "overexposed", "blurred", "tiny", "oddly shaped", "other channels")


def _ratio(sketch: ImageSketch) -> float:
    """The longer side by the shorter."""
    sides = sketch.facts.height, sketch.facts.width
    return max(sides) / min(sides)
