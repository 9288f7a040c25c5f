"""Images that are probably of no use: blank, dark, overexposed, blurred, tiny, oddly shaped, with other channels than
the rest.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from striate.data.checks.image_statistics import ImageStatistics

BLANK_SPREAD = 2.0
DARK_FRACTION = BRIGHT_FRACTION = 0.9
BLUR_SHARPNESS, FEW_PIXELS = 2.5, 64
TINY_FACTOR, ODD_ASPECT = 4, 3.0
_USUAL_FRACTION = 0.95


def flaws(statistics: Sequence[ImageStatistics | None]) -> dict[str, list[int]]:
    """Flaw -> places of the images that have it, by the statistics of N images, None for one that cannot be read.

    blank: standard deviation of grey below 2 of 255. dark, overexposed: nine tenths of the pixels below 16, above 239.
    blurred: standard deviation of the Laplacian below 2.5 with the longer side at 256 pixels, images under 64 pixels
    aside. tiny: a side less than a quarter of the median one. oddly shaped: longer by 3 to 1, or by 3 times the median
    ratio. other channels: a mode that less than 5 % have where another is usual.
    """
    found: dict[str, list[int]] = {name: [] for name in FLAWS}
    readable = [(place, own) for place, own in enumerate(statistics) if own is not None]
    if not readable:
        return found
    median_side = float(np.median([min(own.facts.height, own.facts.width) for _, own in readable]))
    median_ratio = float(np.median([_ratio(own) for _, own in readable]))
    (usual_mode, num_usual), *_ = Counter(own.facts.mode for _, own in readable).most_common(1)
    for place, own in readable:
        side = min(own.facts.height, own.facts.width)
        is_blank = own.spread < BLANK_SPREAD
        signs = {
            "blank": is_blank,
            "dark": own.dark > DARK_FRACTION and not is_blank,
            "overexposed": own.bright > BRIGHT_FRACTION and not is_blank,
            "blurred": own.sharpness < BLUR_SHARPNESS and side >= FEW_PIXELS and not is_blank,
            "tiny": side * TINY_FACTOR < median_side,
            "oddly shaped": _ratio(own) > ODD_ASPECT * max(1.0, median_ratio),
            "other channels": own.facts.mode != usual_mode and num_usual >= _USUAL_FRACTION * len(readable),
        }
        for name, is_so in signs.items():
            if is_so:
                found[name].append(place)
    return found


FLAWS = ("blank", "dark", "overexposed", "blurred", "tiny", "oddly shaped", "other channels")


def _ratio(own: ImageStatistics) -> float:
    """The longer side by the shorter."""
    sides = own.facts.height, own.facts.width
    return max(sides) / min(sides)
