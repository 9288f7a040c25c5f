"""The matrix of who fools whom as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

from striate.errors import InputError
from striate.units import percent

if TYPE_CHECKING:
    from striate.baselines.transferability import Transferability

_DARK = 0.55
"""From this fraction on numbers are white."""
_LONGEST = 28


def draw_transferability(found: "Transferability", path: Path) -> None:
    """A PNG, SVG or PDF by the ending of `path`: a row for what images were made on, a column for what they were tried
    on.

    InputError where it cannot be written.
    """
    # isort: off
    import striate.canvas  # noqa: F401 - before any other part of matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    # isort: on

    num_rows, num_columns = len(found.sources), len(found.targets)
    figure = Figure(figsize=(3.2 + 0.9 * num_columns, 2.4 + 0.55 * num_rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    values = [[100 * cell.fooled for cell in row] for row in found.cells]
    axes.imshow(values, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            colour = "white" if value > 100 * _DARK else "#222222"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=10)
    below = [
        f"{_short(name)}\n{percent(accuracy, 1)} correct"
        for name, accuracy in zip(found.targets, found.accuracies, strict=True)
    ]
    axes.set_xticks(range(num_columns), below, rotation=35, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(num_rows), [_short(name) for name in found.sources], parse_math=False)
    axes.set_xlabel("tried on")
    axes.set_ylabel("made on")
    axes.set_title(f"correct predictions undone, %: {found.norm} {found.epsilon:.4g}, {found.method}", fontsize=10)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path} cannot be drawn: {reason}; name a .png, .svg or .pdf in a folder that is there"
        ) from None


def _short(name: str) -> str:
    """The end of a long name, and none of what matplotlib would read as mathematics."""
    return name if len(name) <= _LONGEST else "…" + name[-_LONGEST + 1 :]
