"""Two consoles, answers on standard output and everything else on standard error, and the bars and lines drawn there."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

T = TypeVar("T")

_PLAIN_WIDTH = 120
"""Columns where the output is no terminal and has no width of its own."""

out = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
err = Console(stderr=True, width=None if sys.stderr.isatty() else _PLAIN_WIDTH)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, for machines.")]
DataDir = Annotated[
    str | None, typer.Option("--data-dir", metavar="DIR", help="Where the files of named sets (mnist, ...) lie.")
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch a named set or published weights; size is shown, checksum verified.")
]
LabelColumn = Annotated[
    str | None, typer.Option("--label-column", metavar="NAME", help="The column of a CSV that is the class.")
]
PathColumn = Annotated[
    str | None, typer.Option("--path-column", metavar="NAME", help="The column of a CSV that is the image's path.")
]
SplitColumn = Annotated[
    str | None, typer.Option("--split-column", metavar="NAME", help="The column of a CSV that is the split.")
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where to compute.")]


def show_json(document: Any) -> None:
    """One JSON document on standard output; NaN and infinity become null, as JSON has none."""
    sys.stdout.write(json.dumps(_finite(document), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def log(line: str) -> None:
    """One line for the user, on standard error."""
    err.print(Text(line), style="dim", soft_wrap=True)


def complain(line: str) -> None:
    """The one line of an error."""
    err.print(Text("Error: ", style="bold red") + Text(line), soft_wrap=True)


def track(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """A progress bar on standard error where that is a terminal; the items pass through unchanged.

    Without `total` it counts.
    """
    if not err.is_terminal:
        yield from items
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        yield from progress.track(items, total=total, description=what)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
