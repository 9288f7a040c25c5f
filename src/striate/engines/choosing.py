"""Selects an engine: its predictions must match the float32 PyTorch reference; among those, the lowest expected
time.
"""

from collections.abc import Sequence

from striate.engines.engine import REFERENCE
from striate.engines.measurement import Row

MOST_DIFFERENCE = 1e-4
"""Of any probability, for engines that compute in float32: what the order of additions may change."""
FEWEST_OWN_IMAGES = 200
"""Held-back images of the user's own on which a 16-bit engine must give the same best class, every one of them."""
TORCH_START_S = 2.5
"""About what importing torch and building a network takes, which an exported copy saves; it decides for few images
only.
"""


def why_not(row: Row) -> str | None:
    """Why "auto" may not use an engine, in a few words; None where it may."""
    if row.problem is not None:
        return row.problem
    if row.kind == REFERENCE:
        return None
    if not row.timings or row.agreement is None:
        return "was not measured"
    if row.kind.precision == "int8":
        return "int8 is used only when asked for"
    return disagreement(row)


def disagreement(row: Row) -> str | None:
    """In what an engine's answers differ from the reference's, or are not shown to agree; None where they agree."""
    agreement = row.agreement
    if agreement is None:
        return "was not compared"
    if agreement.num_equal < agreement.num_images:
        return f"answers {agreement.num_images - agreement.num_equal} of {agreement.num_images} images differently"
    if row.kind.precision == "float32":
        if agreement.max_difference > MOST_DIFFERENCE:
            return f"probabilities differ by up to {agreement.max_difference:.2g}"
        return None
    if not agreement.is_on_own_images or agreement.num_images < FEWEST_OWN_IMAGES:
        return f"16-bit must agree on {FEWEST_OWN_IMAGES} held-back images of yours"
    return None


def eligible(rows: Sequence[Row]) -> list[Row]:
    """Those whose answers are the reference's."""
    return [row for row in rows if why_not(row) is None]


def choose(
    rows: Sequence[Row], batch_size: int, *, num_images: int | None = None, is_torch_there: bool = True
) -> Row | None:
    """The eligible engine that is soonest done with `num_images` in batches of `batch_size`; None where none was timed.

    Getting ready counts for what it takes, and importing torch too unless it is there; without `num_images` neither
    does.
    """
    timed = [row for row in eligible(rows) if row.timings]
    return min(timed, key=lambda row: _expected_s(row, batch_size, num_images, is_torch_there), default=None)


def _expected_s(row: Row, batch_size: int, num_images: int | None, is_torch_there: bool) -> float:
    """Seconds for all images, or for one image once everything is ready."""
    timing = row.timing(batch_size if num_images is None else min(batch_size, num_images))
    assert timing is not None
    if num_images is None:
        return 1 / timing.images_per_s
    start_s = (row.open_s or 0.0) + (TORCH_START_S if row.kind.needs_torch and not is_torch_there else 0.0)
    return start_s + num_images / timing.images_per_s
