"""`striate tune`: search for the settings of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.choice_options import with_choices
from striate.cli.console import (
    AsJson,
    Device,
    log,
    out,
    show_json,
    suggest,
)
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent

if TYPE_CHECKING:
    from striate.recipes.choices import Choices
    from striate.recipes.tune import Tuned


@reads_source
@with_choices("network", "weights", "epochs", "image_size", "seed")
def tune(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="As for train.")],
    *,
    minutes: Annotated[
        float,
        typer.Option(
            "--minutes",
            help="No trial but the first goes on after so long; then comes the winner.",
        ),
    ] = 30.0,
    trials: Annotated[int, typer.Option("--trials", min=1, metavar="N", help="At most so many trials.")] = 20,
    space: Annotated[
        Path | None, typer.Option("--space", metavar="FILE", help="JSON with the settings to vary; see the docs.")
    ] = None,
    folder: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where trials, journal, page and winner go.")
    ] = Path("tuned"),
    choices: "Choices",
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Search for the settings of a run.

    Trials are ordinary runs evaluated on the validation part; bad ones are stopped early. The winner is trained again
    and tested once. A search that was stopped goes on when it is started again.

    Example: striate tune photos/ --minutes 30 --out tuned
    """
    with importing():
        from striate.recipes.tune import tune as search
        from striate.recipes.tuning_space import read_space
        from striate.reports.tune_page import write_tune_page

    found = search(
        source,
        choices,
        folder=folder,
        space=None if space is None else read_space(space),
        num_trials=trials,
        minutes=minutes,
        device=device,
        access=reading.access(),
    )
    if found.winner.status != "finished":
        if as_json:
            show_json(found.to_json())
        log(f"the winner's training stopped and is kept in {found.winner.path}; the same command goes on with it")
        raise typer.Exit(1)
    page = write_tune_page(found.to_json(), folder / "tune.html")
    if as_json:
        show_json(found.to_json())
        return
    _show(found)
    log(f"wrote {page}")
    suggest("striate", "predict", str(found.winner.path), "photo.jpg", what=f"and open {found.winner.report_path}")


def _show(found: "Tuned") -> None:
    from striate.tasks.catalogue import TASKS

    table = Table(box=None, header_style="bold", pad_edge=False)
    labels = {task.score_name: task.score_label for task in TASKS.values()}
    for heading in (
        "trial",
        f"validation {labels.get(found.score_name, found.score_name)}",
        "epochs",
        "end",
        "settings",
    ):
        table.add_column(heading, justify="left" if heading in ("end", "settings") else "right", overflow="fold")
    for trial in sorted(found.trials, key=lambda each: -(each.score or 0)):
        settings = ", ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in trial.settings.items()
        )
        score = percent(trial.score)
        style = "bold" if trial.number == found.best else ""
        table.add_row(str(trial.number), score, str(trial.num_epochs), trial.end, Text(settings), style=style)
    out.print(table)
    if found.importances:
        named = ", ".join(f"{name} {percent(value, 0)}" for name, value in found.importances.items())
        out.print(Text(f"what mattered: {named}"), soft_wrap=True)
    out.print(Text(f"the search took {found.seconds:.0f} s of training"), soft_wrap=True)
    if found.winner.evaluation is not None:
        for name, words in found.winner.evaluation.lines():
            out.print(Text(f"winner, {found.winner.split} part: {name} {words}"), soft_wrap=True)
