"""`striate evaluate`: how right a model is."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import (
    AsJson,
    Device,
    GroupBy,
    Nms,
    log,
    out,
    show_json,
    suggest,
)
from striate.cli.group_table import show_groups
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.errors import InputError
from striate.progress import log_nothing
from striate.units import percent, percent_range

if TYPE_CHECKING:
    from striate.tasks.classification.figures import Evaluation
    from striate.tasks.model import Model

_MOST_ROWS = 40


@reads_source
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
            "--average",
            metavar="mirror|six|ten_crop|five_scales",
            help="Average the answers over views of each image.",
        ),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option("--coverage", metavar="0.9", help="Also sets of classes that hold the right one so often."),
    ] = None,
    allowed_error: Annotated[
        float | None,
        typer.Option("--allowed-error", metavar="0.01", help="Also the confidence above which errors stay so rare."),
    ] = None,
    corruptions: Annotated[
        bool, typer.Option("--corruptions", help="Also on corrupted images: noise, blur, weather, movement, ...")
    ] = False,
    corruption: Annotated[
        list[str] | None, typer.Option("--corruption", metavar="NAME", help="Only these, such as shift; repeatable.")
    ] = None,
    corrupted_images: Annotated[
        int, typer.Option("--corrupted-images", min=1, metavar="N", help="At most so many images are corrupted.")
    ] = 100,
    calibrate_on: Annotated[
        str | None,
        typer.Option("--calibrate-on", metavar="SOURCE", help="Images for --coverage; its validation part by default."),
    ] = None,
    group_by: GroupBy = None,
    nms: Nms = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 256,
    ignore_index: Annotated[
        int | None, typer.Option("--ignore-index", metavar="VALUE", help="A value of masks that counts for nothing.")
    ] = None,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Evaluate a model: accuracy, per-class metrics, calibration.

    Accuracy has its 95 % interval; the worst mistakes are named.

    Example: striate evaluate runs/digits-digitnet-1 --split test
    """
    with importing():
        from striate.evaluation.corruptions import CORRUPTIONS, check_corruptions
        from striate.evaluation.evaluate_model import evaluate as evaluate_source
        from striate.tasks.model import load_model

    if corruptions or corruption:
        check_corruptions(tuple(corruption) if corruption else CORRUPTIONS)  # refused before anything slow
    loaded = load_model(model, device=device, download=reading.download, log=log)
    if nms is not None:
        loaded = replace(loaded, task=loaded.task.with_nms(nms))
    _check_trust(loaded, average, coverage, allowed_error, corrupts=bool(corruptions or corruption))
    access = replace(reading.access(), ignore_index=ignore_index)
    result = evaluate_source(loaded, source, split=split, average=average, batch_size=batch_size, access=access)
    figures = result.to_json()
    quiet = replace(access, log=log_nothing)  # all was told above
    groups = []
    if group_by is not None:
        from striate.evaluation.evaluate_groups import evaluate_groups

        groups = evaluate_groups(
            loaded,
            source,
            group_by=group_by,
            split=result.split,
            average=average,
            batch_size=batch_size,
            access=quiet,
        )
        figures["group_by"], figures["groups"] = group_by, [asdict(each) for each in groups]
    if allowed_error is not None:
        figures["threshold"] = asdict(cast("Evaluation", result.evaluation).threshold(allowed_error))
    if coverage is not None:
        from striate.evaluation.conformal import evaluate_sets, fit_conformal, stored_conformal

        fit = stored_conformal(loaded, coverage) if calibrate_on is None else None
        fit = fit or fit_conformal(loaded, coverage, calibrate_on, batch_size=batch_size, access=quiet)
        figures["sets"] = evaluate_sets(
            loaded, fit, source, split=result.split, batch_size=batch_size, access=quiet
        ).to_json()
    if corruptions or corruption:
        from striate.evaluation.corrupted import evaluate_corrupted

        chosen = tuple(corruption) if corruption else CORRUPTIONS
        corrupted = evaluate_corrupted(
            loaded,
            source,
            corruptions=chosen,
            split=result.split,
            limit=corrupted_images,
            batch_size=batch_size,
            access=quiet,
        )
        figures["corruptions"] = corrupted.to_json()
        if source is None and (Path(model) / "run.json").is_file():
            from striate.reports.corruptions_panel import write_corruptions
            from striate.reports.report import write_report

            write_corruptions(Path(model), corrupted)
            log(f"the curve and examples are in {write_report(Path(model))}")
    if as_json:
        show_json(figures)
        return
    out.print(Text.assemble((f"{result.split}", "bold"), f" part of {result.source}, {figures['num_images']:,} images"))
    classes = figures["per_class"]
    if not loaded.task.has_probabilities:
        out.print(_lines_table(result.evaluation.lines()))
        if 1 < len(classes) <= _MOST_ROWS:
            out.print(_any_class_table(classes, loaded.task.support_of))
        suggest("striate", "predict", model, "photo.jpg", "--out", "drawn", what="what it finds, drawn")
        return
    out.print(_figures_table(figures))
    for line in _trust_lines(figures):
        out.print(Text(line), soft_wrap=True)
    if groups:
        show_groups(model, str(group_by), groups)
    if "corruptions" in figures:
        out.print(_corruption_table(figures["corruptions"]))
    if len(classes) <= _MOST_ROWS:
        out.print(_class_table(classes))
    for pair in figures["most_confused"][:5]:
        out.print(
            f"{pair['count']:>5,} x {pair['label']} predicted as {pair['predicted']}", markup=False, highlight=False
        )
    suggest("striate", "compare", model, *([source] if source else []), "--group-by", "class", what="where it is worst")


def _figures_table(figures: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False)
    for name, key in (("top-1 accuracy", "top1"), ("top-5 accuracy", "top5")):
        if figures[f"{key}_accuracy"] is not None:
            low, high = figures[f"{key}_interval"]
            table.add_row(name, f"{percent(figures[f'{key}_accuracy'])}  (95 % interval {percent_range(low, high)})")
    table.add_row("negative log-likelihood", f"{figures['negative_log_likelihood']:.4f} nats")
    table.add_row("calibration error", _calibration(figures))
    if figures["brier_score"] is not None:
        table.add_row("Brier score", f"{figures['brier_score']:.4f}")
    if figures["temperature"] != 1:
        table.add_row("temperature", f"{figures['temperature']:.3f}, by striate calibrate")
    return table


def _corruption_table(figures: dict[str, Any]) -> Table:
    """Accuracy by corruption and severity."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(f"{figures['num_images']:,} images, corrupted")
    for severity in range(1, 6):
        table.add_column(f"{severity}", justify="right")
    table.add_row("as they are", percent(figures["clean"], 1), "", "", "", "", style="dim")
    for name in dict.fromkeys(row["corruption"] for row in figures["rows"]):
        own = [row for row in figures["rows"] if row["corruption"] == name]
        table.add_row(name.replace("_", " "), *(percent(row["accuracy"], 1) for row in own))
    table.add_row("mean", percent(1 - figures["mean_error"], 1), "", "", "", "", style="bold")
    return table


def _calibration(figures: dict[str, Any]) -> str:
    """The three calibration errors: bins of equal width, of equal counts, and over classes."""
    others = [
        f"{percent(figures[key])} {words}"
        for key, words in (
            ("adaptive_calibration_error", "by bins of equally many images"),
            ("classwise_calibration_error", "by class"),
        )
        if figures[key] is not None
    ]
    own = percent(figures["calibration_error"])
    return f"{own}  ({', '.join(others)})" if others else own


def _check_trust(
    model: "Model", average: str | None, coverage: float | None, allowed_error: float | None, *, corrupts: bool
) -> None:
    """Raise InputError for what cannot be measured together, or of such a model, before anything slow."""
    from striate.evaluation.conformal import check_coverage
    from striate.tasks.classification.selective import check_allowed_error

    asked = {"--coverage": coverage is not None, "--allowed-error": allowed_error is not None, "corruptions": corrupts}
    if not model.task.has_probabilities and any(asked.values()):
        named = next(name for name, is_asked in asked.items() if is_asked)
        raise InputError(f"{named} needs a classifier but this model is for {model.task.name}; leave it out")
    if average is not None and (coverage is not None or corrupts):
        raise InputError(
            "--coverage and corruptions are measured of plain answers, not of averaged ones; leave --average out"
        )
    if coverage is not None:
        check_coverage(coverage)
    if allowed_error is not None:
        check_allowed_error(allowed_error)


def _trust_lines(figures: dict[str, Any]) -> Iterator[str]:
    """Sentences on the threshold and the sets, where they were asked for."""
    found, sets = figures.get("threshold"), figures.get("sets")
    if found is not None and found["confidence"] is None:
        yield (
            f"no confidence keeps errors below {percent(found['allowed_error'])} with a certainty of 95 %, as far as "
            "these images tell: name more images, or a higher rate"
        )
    elif found is not None:
        yield (
            f"answers with a confidence of {percent(found['confidence'])} or more are wrong at most "
            f"{percent(found['allowed_error'])} of the time (certainty 95 %): {percent(found['coverage'])} of these "
            f"images, {percent(found['error'])} of them wrongly"
        )
    if sets is not None:
        fit, (low, high) = sets["fit"], sets["covered"]["interval"]
        yield (
            f"sets for a coverage of {percent(fit['coverage'])}, calibrated on {fit['num_images']:,} {fit['split']} "
            f"images, hold the right class of {percent(sets['covered']['value'])} ({percent(low)} to "
            f"{percent(high)}); {sets['mean_size']:.2f} classes on average, {percent(sets['fraction_single'])} a "
            "single one"
        )


def _lines_table(lines: list[tuple[str, str]]) -> Table:
    """The figures that the task puts first."""
    table = Table(box=None, show_header=False)
    for name, words in lines:
        table.add_row(name, words)
    return table


def _any_class_table(classes: list[dict[str, Any]], support_of: str) -> Table:
    """A row a class, with the fractions that the task has of each, and of how many images or objects."""
    names = [name for name in classes[0] if name not in ("name", "support")]
    table = Table(box=None, header_style="bold")
    for heading in ("class", *(name.replace("_", " ") for name in names), support_of):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in classes:
        table.add_row(Text(row["name"]), *(percent(row[name]) for name in names), f"{row['support']:,}")
    return table


def _class_table(classes: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold")
    for heading in ("class", "precision", "recall", "F1", "images"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in classes:
        shares = (percent(row[key]) for key in ("precision", "recall", "f1"))
        table.add_row(Text(row["name"]), *shares, f"{row['support']:,}")
    return table
