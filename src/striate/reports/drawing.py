"""matplotlib as reports use it: drawing to SVG only, whatever the user's surroundings say about windows and styles."""

from contextlib import AbstractContextManager
from typing import Any

# isort: off
from striate.canvas import matplotlib  # before any other part of it
from matplotlib.axes import Axes as Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG as FigureCanvasSVG
from matplotlib.figure import Figure as Figure
from matplotlib.ticker import MaxNLocator as MaxNLocator
from matplotlib.ticker import PercentFormatter as PercentFormatter
# isort: on


def drawing_settings(changes: dict[str, Any]) -> AbstractContextManager[None]:
    """matplotlib's own settings with these changes, not those of a matplotlibrc that lies somewhere; undone at the
    end.
    """
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}
    settings: AbstractContextManager[None] = matplotlib.rc_context(defaults | changes)
    return settings
