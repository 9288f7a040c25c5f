"""What a cross-validation came to, on the screen."""

from typing import TYPE_CHECKING

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import err, log, out, show_json, suggest
from striate.units import percent, percent_range

if TYPE_CHECKING:
    from striate.recipes.folds import CrossValidation


def show_folds(found: "CrossValidation", *, as_json: bool) -> None:
    """The folds, their mean and spread; how to go on, and exit code 1, where it was stopped."""
    if as_json:
        show_json(found.to_json())
    if found.status != "finished":
        done = f"{len(found.folds)} of {found.num_folds} folds"
        going_on = f"stopped after {done}; go on with: striate train --resume {found.path}"
        log(going_on) if as_json else err.print(Text(going_on, style="bold"), soft_wrap=True)
        raise typer.Exit(1)
    if as_json:
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("fold", found.score_name.replace("_", " "), "tested on", "trained on", "best epoch"):
        table.add_column(heading, justify="left" if heading == "fold" else "right", overflow="fold")
    for row in found.folds:
        table.add_row(
            str(row.fold),
            percent(row.score),
            f"{row.num_images:,}",
            f"{row.num_train:,}",
            "–" if row.best_epoch is None else f"{row.best_epoch:,}",
        )
    out.print(table)
    if found.mean is not None and found.spread is not None:
        out.print(
            Text(f"mean {percent(found.mean)}, standard deviation between folds {100 * found.spread:.2f} points"),
            soft_wrap=True,
        )
    if found.pooled is not None and found.interval is not None:
        interval = percent_range(*found.interval)
        out.print(Text(f"all folds together {percent(found.pooled)}  (95 % interval {interval})"))
    out.print(Text(f"report   {found.page_path}"), soft_wrap=True)
    runs = [row.run for row in found.folds]
    suggest("striate", "ensemble", *runs, "--no-measure", what="the folds as one model")
