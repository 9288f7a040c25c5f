"""`striate runs`: the runs below a folder, or two of them side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, complain, out, show_json, suggest
from striate.cli.memory import importing
from striate.errors import InputError
from striate.units import clock, percent, percent_range

if TYPE_CHECKING:
    from striate.recipes.run_list import RunRow


def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR | RUN RUN]", help="A folder of runs, or two runs to compare.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first, or compare two.

    Runs are looked for below a folder, runs/ by default. Two runs: what differs in their settings and figures.

    Example: striate runs runs/digits-digitnet-1 runs/digits-digitnet-2
    """
    folders = folders or [Path("runs")]
    if len(folders) > 2:
        raise InputError(f"runs takes a folder, or two runs to compare, but got {len(folders)}; name two")
    with importing():
        from striate.recipes.run_list import describe_row, differing_settings, list_runs

    if len(folders) == 2:
        rows = [describe_row(folder) for folder in folders]
        settings = differing_settings(*folders)
        if as_json:
            differing = {name: {"first": one, "second": other} for name, (one, other) in settings.items()}
            show_json({"first": rows[0].to_json(), "second": rows[1].to_json(), "differing": differing})
        else:
            _compare(rows, settings)
        return
    found = list_runs(folders[0])
    if as_json:
        show_json(found.to_json())
        return
    for _, reason in found.damaged:
        complain(reason)
    if not found.runs:
        out.print(Text(f"no runs in {folders[0]}"), soft_wrap=True)
        suggest("striate", "train", "digits", what="makes one in seconds")
        return
    table = Table(box=None, header_style="bold")
    labels = {row.score_label for row in found.runs}
    for heading in ("run", "network", "data", next(iter(labels)) if len(labels) == 1 else "score", "time", "status"):
        table.add_column(heading, justify="right" if heading in (*labels, "score", "time") else "left", overflow="fold")
    for row in found.runs:
        score = _score(row, with_label=len(labels) > 1)
        table.add_row(
            Text(row.path),
            Text(row.network),
            Text(_last(row.source)),
            score,
            clock(row.elapsed_s),
            row.status,
        )
    out.print(table)
    if len(found.runs) > 1:
        suggest("striate", "runs", found.runs[1].path, found.runs[0].path, what="what differs between the two newest")
    else:
        suggest("striate", "evaluate", found.runs[0].path)


def _compare(rows: "list[RunRow]", settings: dict[str, tuple[Any, Any]]) -> None:
    table = Table(box=None, header_style="bold")
    for heading in ("", rows[0].path, rows[1].path):
        table.add_column(Text(heading), overflow="fold")
    table.add_row("network", *(Text(row.network) for row in rows))
    are_alike = rows[0].task == rows[1].task
    heading = rows[0].score_label if are_alike else "score"
    table.add_row(heading, *(_score(row, with_label=not are_alike) for row in rows))
    table.add_row("95 % interval", *(_interval(row) for row in rows))
    table.add_row("measured on", *(row.split or "–" for row in rows))
    table.add_row("time", *(clock(row.elapsed_s) for row in rows))
    for name, pair in settings.items():
        table.add_row(Text(name, style="dim"), *(Text(_short(value)) for value in pair))
    out.print(table)
    if settings.keys() & {"data.fingerprint", "source"}:
        out.print("The data differ, so the two figures are not of the same images.", style="yellow")
    suggest("striate", "compare", *(row.path for row in rows), what="is the difference more than chance?")


def _score(row: "RunRow", *, with_label: bool) -> str:
    if row.score is None:
        return "–"
    return f"{percent(row.score)}{f' {row.score_label}' if with_label else ''}"


def _interval(row: "RunRow") -> str:
    return "–" if row.interval is None else percent_range(row.interval[0], row.interval[1])


def _last(source: str) -> str:
    return source.rstrip("/").rpartition("/")[2] or source


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
