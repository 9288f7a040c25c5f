"""`striate errors`: which labels are probably wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

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
    from striate.evaluation.label_errors import LabelErrors
    from striate.tasks.model import Model

_MOST_ROWS = 20


@reads_source
def errors(
    source: Annotated[
        str,
        typer.Argument(metavar="RUN|SOURCE", help="A run or model, for the data it was trained on; or as for train."),
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="WEIGHTS",
            help="The frozen network: imagenet, a run, a weights file. Pixels by default.",
        ),
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", metavar="NAME", help="The network that the weights belong to.")
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts, each asked about from the others.")] = 10,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides the folds.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", metavar="PAGE", help="Write a page with thumbnails.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a table to correct.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 32,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find labels that are probably wrong.

    The least believable come first, by confident learning on out-of-fold probabilities.

    Example: striate errors photos/ --weights imagenet --html errors.html
    """
    with importing():
        from striate.evaluation.label_errors import find_label_errors

    model, images = frozen_network(source, weights, network, device, download=reading.download)
    found = find_label_errors(
        images,
        model=model,
        num_folds=folds,
        seed=seed,
        batch_size=batch_size,
        num_thumbnails=200 if html else 0,
        access=reading.access(),
    )
    if html is not None or csv is not None:
        from striate.reports.label_errors_page import write_label_errors_page, write_label_errors_table

        if html is not None:
            log(f"wrote {write_label_errors_page(found, html)}")
        if csv is not None:
            log(f"wrote {write_label_errors_table(found, csv)}")
    if as_json:
        show_json(found.to_json())
        return
    _show(found)
    if html is None:
        suggest("striate", "errors", source, "--html", "errors.html", what="the same with thumbnails")
    elif csv is None:
        suggest("striate", "errors", source, "--csv", "labels.csv", what="a table to correct them in")
    else:
        suggest("striate", "train", source, "--labels", str(csv), what="once its column label holds the right classes")


def frozen_network(
    source: str, weights: str | None, network: str | None, device: str, *, download: bool
) -> tuple["Model | None", str | None]:
    """The network that gives features, None for pixels, and the source, None for what a run was trained on."""
    from striate.errors import InputError
    from striate.recipes.prepare import network_of
    from striate.tasks.model import load_model

    is_run = is_model(Path(source))
    if weights is None and network is not None:
        raise InputError("a network without weights gives features of nothing; add --weights, or leave --network out")
    if weights is None:
        return (load_model(source, device=device, log=log), None) if is_run else (None, source)
    is_whole = network is None and is_model(Path(weights))
    ref = weights if is_whole else f"{network or network_of(weights)}:{weights}"
    return load_model(ref, device=device, download=download, log=log), None if is_run else source


def is_model(path: Path) -> bool:
    """Whether a path is a run with a model in it, or a model's file."""
    from striate.weights.compressed_file import is_compressed_file
    from striate.weights.model_file import MODEL_FILE, is_model_file

    if path.is_dir():
        return (path / MODEL_FILE).is_file()
    return path.is_file() and (is_compressed_file(path) or is_model_file(path))


def _show(found: "LabelErrors") -> None:
    out.print(
        Text(
            f"{found.source}: confident learning takes about {found.num_estimated:,} of {found.num_images:,} "
            "labels for wrong; what other images say by "
            f"{'32 x 32 pixels' if found.features == 'pixels' else 'features of ' + found.features} agrees with "
            f"{percent(found.accuracy, 1)} of them"
        ),
        soft_wrap=True,
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("image", "given", "suggested", "p(given)", "p(suggested)"):
        table.add_column(heading, justify="right" if heading.startswith("p(") else "left", overflow="fold")
    for issue in found.issues[:_MOST_ROWS]:
        shares = (percent(issue.self_confidence, 1), percent(issue.suggested_probability, 1))
        table.add_row(Text(issue.path), Text(issue.given), Text(issue.suggested), *shares)
    if found.issues:
        out.print(table)
    if len(found.issues) > _MOST_ROWS:
        out.print(Text(f"and {len(found.issues) - _MOST_ROWS:,} more; --json and --csv name them all", style="dim"))
