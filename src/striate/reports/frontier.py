"""The frontier of size against accuracy as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from striate.compression.search import Frontier


def draw_frontier(frontier: "Frontier", path: Path) -> None:
    """A PNG of bytes on disk, on a logarithmic axis, against accuracy on the validation part: what was tried, chosen
    and where it began.
    """
    # isort: off
    import striate.canvas  # noqa: F401 - before any other part of matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    # isort: on

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    tries = frontier.tries
    accuracies = [100 * each.validation_accuracy for each in tries]
    axes.plot([each.file_bytes / 1e3 for each in tries], accuracies, "o-", color="#4477aa", label="compressed")
    axes.plot(
        [frontier.original_bytes / 1e3], [100 * frontier.original_accuracy], "s", color="#444444", label="original"
    )
    chosen = [each for each in tries if each.is_within][-1]
    place = ([chosen.file_bytes / 1e3], [100 * chosen.validation_accuracy])
    axes.plot(*place, "o", markersize=12, fillstyle="none", color="#cc3311", label="chosen")
    axes.set_xscale("log")
    axes.set_xlabel("kB on disk")
    axes.set_ylabel("accuracy on the validation part, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
