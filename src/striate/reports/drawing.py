"""matplotlib as reports use it: drawing to SVG only, whatever the user's surroundings say about windows and styles."""

import logging
import os
from contextlib import AbstractContextManager
from typing import Any


def _import_matplotlib() -> Any:
    """matplotlib, without the MPLBACKEND of a notebook: it would not be imported at all where that backend is not installed.

    What it would say of a home folder that cannot be written concerns nobody here.
    """
    backend = os.environ.pop("MPLBACKEND", None)
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib
        import matplotlib.figure  # fonts are looked for
    finally:
        log.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    return matplotlib


matplotlib = _import_matplotlib()

from matplotlib.axes import Axes as Axes  # noqa: E402
from matplotlib.backends.backend_svg import FigureCanvasSVG as FigureCanvasSVG  # noqa: E402
from matplotlib.figure import Figure as Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator as MaxNLocator  # noqa: E402
from matplotlib.ticker import PercentFormatter as PercentFormatter  # noqa: E402


def drawing_settings(changes: dict[str, Any]) -> AbstractContextManager[None]:
    """matplotlib's own settings with these changes, not those of a matplotlibrc that lies somewhere; undone at the end."""
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}
    settings: AbstractContextManager[None] = matplotlib.rc_context(defaults | changes)
    return settings
