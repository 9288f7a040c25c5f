"""Rounding of channel counts in networks that are scaled in width."""

STEP = 8


def round_width(width: float) -> int:
    """The nearest multiple of eight that is no more than a tenth smaller, and at least eight."""
    rounded = max(STEP, int(width + STEP / 2) // STEP * STEP)
    return rounded if rounded >= 0.9 * width else rounded + STEP
