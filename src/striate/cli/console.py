"""Two consoles, answers on standard output and everything else on standard error, and the bars and lines drawn
there.
"""

import json
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import typer
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from striate.printable import json_safe, printable

T = TypeVar("T")

_PLAIN_WIDTH = 120
"""Columns where the output is no terminal and has no width of its own."""


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at the stream, whatever variables that force colours say; False for one that is closed."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


class _Escaping(RenderHook):
    """Shows unsafe characters as escapes in everything that a console prints (see `printable`): names of files and
    classes come from strangers. A text or a cell of a table is one line, so a line break in it is escaped as well.
    """

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_escaped(each) for each in renderables]


class _EscapedSegments:
    """Any other renderable, its unsafe characters escaped after its layout; line breaks are its own."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self.inner, options):
            yield Segment(text if control else printable(text, keep_newlines=True), style, control)


def _escaped(renderable: Any) -> Any:
    if isinstance(renderable, Text):
        return _escaped_text(renderable)
    if isinstance(renderable, Table):
        for column in renderable.columns:
            for cells in (column._cells, header := [column.header], footer := [column.footer]):
                cells[:] = [
                    printable(cell)
                    if isinstance(cell, str)
                    else _escaped_text(cell)
                    if isinstance(cell, Text)
                    else cell
                    for cell in cells
                ]
            column.header, column.footer = header[0], footer[0]
    return _EscapedSegments(renderable)


def _escaped_text(text: Text) -> Text:
    unsafe = [place for place, char in enumerate(text.plain) if printable(char) != char]
    if not unsafe:
        return text
    shown = text.blank_copy()
    for piece in text.divide(sorted({place + step for place in unsafe for step in (0, 1)})):
        piece.plain = printable(piece.plain)
        shown.append_text(piece)
    return shown


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if is_terminal(stream) else _PLAIN_WIDTH
    console = Console(stderr=stderr, width=width, markup=False, emoji=False)  # names may have [brackets] and :colons:
    console.push_render_hook(_Escaping())
    return console


out = _console(stderr=False)
err = _console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, for machines.")]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch a named set or published weights; size is shown, checksum verified.")
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        "--exclude", metavar="FILE", help="Leave out the images that FILE lists, one path a line; none is touched."
    ),
]
Relabel = Annotated[
    Path | None,
    typer.Option(
        "--labels", metavar="CSV", help="Other classes for some images: path,label, as `striate errors --csv` writes."
    ),
]
Nms = Annotated[
    str | None,
    typer.Option(
        "--nms",
        metavar="hard|soft",
        help="Of a detector's overlapping boxes: all but the surest go, or their scores fall. By default hard.",
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="HOW",
        help="What belongs together: folder, class, split, a column of the CSV, or a pattern with (parentheses).",
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda|mps", help="Where to compute.")]


def show_json(document: Any) -> None:
    """One JSON document on standard output; NaN and infinity become null, as JSON has none."""
    sys.stdout.write(json_text(_finite(document), indent=2) + "\n")


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON as standard output can take it. Control characters, bytes of a file's name that are no UTF-8, and letters
    that its encoding lacks are JSON's escapes, from which any parser restores them.
    """
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    return json_safe(json.dumps(value, ensure_ascii=not is_unicode, indent=indent, allow_nan=False))


def log(line: str) -> None:
    """One line for the user, on standard error."""
    err.print(Text(printable(line)), style="dim", soft_wrap=True)


def complain(line: str) -> None:
    """The one line of an error."""
    err.print(Text("Error: ", style="bold red") + Text(printable(line)), soft_wrap=True)


def suggest(*words: str, what: str = "") -> None:
    """The next sensible command, on standard error so that an answer can be piped on."""
    err.print(Text.assemble("next: ", shlex.join(words), (f"   # {what}" if what else "", "dim")), soft_wrap=True)


def is_live() -> bool:
    """Whether something that moves can be drawn on standard error."""
    return is_terminal(sys.stderr) and not err.is_dumb_terminal


def track(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """A progress bar on standard error where that is a terminal; the items pass through unchanged.

    Without `total` it counts.
    """
    if not is_live():
        yield from items
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
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
