"""The caller's view of a running synthesis: it hears of each step, may ask for the picture so far, and may stop the
work.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Snapshot = Callable[[], np.ndarray]
"""Gives the picture as it stands, pixels (H, W, C) uint8; nothing is computed unless it is called."""


def ignore_step(step: int, num_steps: int, loss: float, snapshot: Snapshot) -> None:
    """The `on_step` of a caller who wants to see nothing."""


def never() -> bool:
    """The `should_stop` of a caller who waits for the end."""
    return False


@dataclass(frozen=True)
class Watch:
    """`on_step(step, num_steps, loss, snapshot)` is called after each step, `should_stop()` between steps.

    Work that is stopped gives the best picture so far.
    """

    on_step: Callable[[int, int, float, Snapshot], None] = ignore_step
    should_stop: Callable[[], bool] = never


UNWATCHED = Watch()
