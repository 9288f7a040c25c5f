"""`striate evaluate`: how right a model is."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import (
    AsJson,
    DataDir,
    Device,
    Download,
    LabelColumn,
    PathColumn,
    Root,
    SplitColumn,
    log,
    out,
    show_json,
    track,
)
from striate.cli.memory import importing

_MOST_ROWS = 40


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
    ],
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="As for train; what the model was trained on by default.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="train|validation|test|all", help="Which part; test where there is one."),
    ] = None,
    average: Annotated[
        str | None,
        typer.Option(
            "--average", metavar="mirror|six", help="Average the answers over two or six views of each image."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 256,
    label_column: LabelColumn = None,
    path_column: PathColumn = None,
    split_column: SplitColumn = None,
    root: Root = None,
    ignore_index: Annotated[
        int | None, typer.Option("--ignore-index", metavar="VALUE", help="A value of masks that counts for nothing.")
    ] = None,
    data_dir: DataDir = None,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Evaluate a model: accuracy, per-class metrics, calibration.

    Accuracy has its 95 % interval; the worst mistakes are named.

    Example: striate evaluate runs/digits-digitnet-1 --split test
    """
    with importing():
        from striate.data.opening import Access
        from striate.data.readers.columns import Columns
        from striate.evaluation.evaluate_model import evaluate as evaluate_source
        from striate.tasks.model import load_model

    loaded = load_model(model, device=device, download=download, log=log)
    columns = Columns(path_column, label_column, split_column, root)
    access = Access(
        data_dir=data_dir, download=download, log=log, track=track, columns=columns, ignore_index=ignore_index
    )
    result = evaluate_source(loaded, source, split=split, average=average, batch_size=batch_size, access=access)
    if as_json:
        show_json(result.to_json())
        return
    figures = result.to_json()
    out.print(Text.assemble((f"{result.split}", "bold"), f" part of {result.source}, {figures['num_images']:,} images"))
    classes = figures["per_class"]
    if not loaded.task.has_probabilities:
        out.print(_lines_table(result.evaluation.lines()))
        if 1 < len(classes) <= _MOST_ROWS:
            out.print(_any_class_table(classes))
        return
    out.print(_figures_table(figures))
    if len(classes) <= _MOST_ROWS:
        out.print(_class_table(classes))
    for pair in figures["most_confused"][:5]:
        out.print(
            f"{pair['count']:>5,} x {pair['label']} predicted as {pair['predicted']}", markup=False, highlight=False
        )


def _figures_table(figures: dict) -> Table:
    table = Table(box=None, show_header=False)
    for name, key in (("top-1 accuracy", "top1"), ("top-5 accuracy", "top5")):
        if figures[f"{key}_accuracy"] is not None:
            low, high = figures[f"{key}_interval"]
            table.add_row(
                name, f"{_percent(figures[f'{key}_accuracy'])}  (95 % interval {_percent(low)} to {_percent(high)})"
            )
    table.add_row("negative log-likelihood", f"{figures['negative_log_likelihood']:.4f} nats")
    table.add_row("calibration error", _percent(figures["calibration_error"]))
    if figures["temperature"] != 1:
        table.add_row("temperature", f"{figures['temperature']:.3f}, by striate calibrate")
    return table


def _lines_table(lines: list[tuple[str, str]]) -> Table:
    """The figures that the task puts first."""
    table = Table(box=None, show_header=False)
    for name, words in lines:
        table.add_row(name, words)
    return table


def _any_class_table(classes: list[dict]) -> Table:
    """A row a class, with the fractions that the task has of each."""
    names = [name for name in classes[0] if name not in ("name", "support")]
    table = Table(box=None, header_style="bold")
    for heading in ("class", *(name.replace("_", " ") for name in names), "images"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in classes:
        table.add_row(Text(row["name"]), *(_percent(row[name]) for name in names), f"{row['support']:,}")
    return table


def _class_table(classes: list[dict]) -> Table:
    table = Table(box=None, header_style="bold")
    for heading in ("class", "precision", "recall", "F1", "images"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in classes:
        shares = (_percent(row[key]) for key in ("precision", "recall", "f1"))
        table.add_row(Text(row["name"]), *shares, f"{row['support']:,}")
    return table


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f} %"
