"""`striate report`: write a run's report anew."""

from pathlib import Path
from typing import Annotated

import typer

from striate.cli.console import AsJson, out, show_json, suggest
from striate.cli.memory import importing


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    as_json: AsJson = False,
) -> None:
    """Write a run's report.html anew.

    From what lies in the run's folder.

    Example: striate report runs/digits-digitnet-1
    """
    with importing():
        from striate.reports.report import write_report

    path = write_report(run)
    if as_json:
        show_json({"report": str(path)})
    else:
        out.print(f"report  {path}", highlight=False, soft_wrap=True)
        suggest("striate", "predict", str(run), "photo.jpg", what=f"and open {path}")
