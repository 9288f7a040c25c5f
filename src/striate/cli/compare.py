"""`striate compare`: models beside each other on the same images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import (
    AsJson,
    Device,
    GroupBy,
    log,
    out,
    show_json,
    suggest,
)
from striate.cli.group_table import show_groups
from striate.cli.memory import importing
from striate.cli.model_words import models_and_source
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent, percent_range

if TYPE_CHECKING:
    from striate.evaluation.comparison import Comparison, Pair

_MOST_IMAGES = 8


@reads_source
def compare(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... [SOURCE]", help="Models as for evaluate, then a source; the first's own data by default."
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="train|validation|test|all", help="Which part; test where there is one."),
    ] = None,
    group_by: GroupBy = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="PAGE", help="Write a page with images.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 256,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare models on the same images.

    Differences have intervals (McNemar's exact test, paired bootstrap); images on which they disagree are named.

    Example: striate compare runs/small runs/large photos/ --html compare.html
    """
    with importing():
        from striate.evaluation.comparison import compare as compare_models
        from striate.tasks.model import load_model

    models, source = models_and_source(words)
    found = compare_models(
        [load_model(each, device=device, download=reading.download, log=log) for each in models],
        source,
        split=split,
        group_by=group_by,
        names=models,
        num_thumbnails=60 if html else 0,
        batch_size=batch_size,
        access=reading.access(),
    )
    if html is not None:
        from striate.reports.comparison_page import write_comparison_page

        log(f"wrote {write_comparison_page(found, html)}")
    if as_json:
        show_json(found.to_json())
        return
    _show(found)
    if html is None:
        suggest("striate", "compare", *words, "--html", "compare.html", what="the same with images")
    else:
        suggest("striate", "explain", models[0], "photo.jpg", what="what it looks at in an image")


def verdict(found: "Comparison", pair: "Pair") -> str:
    """What a pair comes to, in one sentence."""
    first, second = found.models[pair.first].name, found.models[pair.second].name
    if pair.only_first + pair.only_second == 0:
        return f"{first} and {second} are right on the same images"
    better, worse = (second, first) if pair.difference > 0 else (first, second)
    low, high = (100 * bound for bound in pair.interval)
    if pair.is_told:
        least, most = (low, high) if pair.difference > 0 else (-high, -low)
        return (
            f"{better} is better than {worse} by {100 * abs(pair.difference):.2f} points "
            f"({least:.2f} to {most:.2f}, p = {pair.adjusted_p_value:.2g})"
        )
    needed = (
        "" if pair.images_needed is None else f"; a difference of this size needs about {pair.images_needed:,} images"
    )
    return (
        f"{found.num_images:,} images do not tell {first} from {second}: difference {100 * pair.difference:+.2f} "
        f"points ({low:+.2f} to {high:+.2f}, p = {pair.adjusted_p_value:.2g}){needed}"
    )


def _show(found: "Comparison") -> None:
    out.print(Text(f"{found.split} part of {found.source}, {found.num_images:,} images"), soft_wrap=True)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("model", "accuracy", "95 % interval", "log-loss"):
        table.add_column(heading, justify="left" if heading == "model" else "right", overflow="fold")
    for model in found.models:
        interval = percent_range(*model.interval)
        table.add_row(Text(model.name), percent(model.accuracy), interval, f"{model.negative_log_likelihood:.4f}")
    out.print(table)
    for pair in found.pairs:
        out.print(Text(verdict(found, pair)), soft_wrap=True)
        out.print(
            Text(
                f"  both right {pair.both_right:,}, only the first {pair.only_first:,}, only the second "
                f"{pair.only_second:,}, both wrong {pair.both_wrong:,}",
                style="dim",
            ),
            soft_wrap=True,
        )
    for model in found.models:
        if model.groups:
            show_groups(model.name, str(found.group_by), model.groups)
    for each in found.disagreements[:_MOST_IMAGES] if len(found.models) > 1 else ():
        said = ", ".join(
            f"{name} {percent(value, 0)}" for name, value in zip(each.predictions, each.probabilities, strict=True)
        )
        out.print(Text(f"{each.path}: is {each.label}; {said}"), soft_wrap=True)
    if len(found.disagreements) > _MOST_IMAGES:
        out.print(
            Text(f"and {len(found.disagreements) - _MOST_IMAGES:,} more images on which they disagree", style="dim")
        )
