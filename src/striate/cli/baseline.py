"""`striate baseline`: what a source gives without a network."""

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
from striate.units import percent, percent_range

if TYPE_CHECKING:
    from striate.baselines.baseline import Baselines


@reads_source
def baseline(
    source: Annotated[str, typer.Argument(metavar="RUN|SOURCE", help="A run, for its own splits; or as for train.")],
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="WEIGHTS", help="Features of this frozen network instead of pixels."),
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", metavar="NAME", help="The network that the weights belong to.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="majority, knn_l2, knn_l1, linear_svm or softmax; repeatable."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the best linear one as a striate model.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="PAGE", help="Write a page with pictures.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides the splits, as for train.")] = 0,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 32,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure what a source gives without a network.

    Majority class, nearest neighbours, linear SVM and softmax regression, evaluated where a network would be. Of a run,
    its own accuracy on the same images stands beside them.

    Example: striate baseline photos/ --save linear.safetensors
    """
    with importing():
        from striate.baselines.baseline import KINDS
        from striate.baselines.baseline import baseline as measure
        from striate.baselines.linear_model import LINEAR, linear_model
        from striate.cli.errors import frozen_network, is_model
        from striate.tasks.model import load_model, save_model

    is_run = is_model(Path(source))
    run = load_model(source, device=device, log=log) if is_run else None
    features_of = (
        None if weights is None else frozen_network(source, weights, network, device, download=reading.download)[0]
    )
    access = reading.access()
    kinds = tuple(only) if only else KINDS
    if save is not None and only and not set(only) & set(LINEAR):
        kinds = (*kinds, "softmax")
    found = measure(
        None if is_run else source, run=run, features_of=features_of, kinds=kinds, seed=seed, batch_size=batch_size,
        access=access,
    )  # fmt: skip
    if save is not None:
        best = max((each for each in found.baselines if each.kind in LINEAR), key=lambda each: each.accuracy)
        save_model(linear_model(found, best.kind), save)
        log(f"wrote {save}: {best.title}")
    if html is not None:
        from striate.reports.baseline_page import write_baseline_page

        log(f"wrote {write_baseline_page(found, html)}")
    if as_json:
        show_json(found.to_json())
        return
    _show(found)
    if save is not None:
        suggest("striate", "attack", str(save), source, "--method", "sign_of_weights", what="how little fools it")
    elif is_run:
        suggest("striate", "compare", source, "--group-by", "class", what="where the run is worst")
    else:
        suggest("striate", "train", source, what="a network, to hold against these")


def _show(found: "Baselines") -> None:
    seen = f"{found.pixel_side} x {found.pixel_side} pixels" if found.pixel_side else f"features of {found.features}"
    out.print(
        Text(
            f"{found.split} part of {found.source}, {found.num_images:,} images; fitted on {found.num_fitted:,} "
            f"others, on {seen}"
        ),
        soft_wrap=True,
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("baseline", "accuracy", "95 % interval", "chose", "seconds"):
        table.add_column(heading, justify="right" if heading in ("accuracy", "seconds") else "left")
    for each in found.baselines:
        low, high = each.interval
        part = "" if each.num_images == found.num_images else f" (on {each.num_images:,} images)"
        table.add_row(
            each.title, percent(each.accuracy), percent_range(low, high), Text(each.setting + part),
            f"{each.seconds:.1f}", style="bold" if each == found.best else "",
        )  # fmt: skip
    if found.network is not None:
        low, high = (100 * bound for bound in found.network.interval)
        table.add_row(
            Text(f"this model, {found.network.title}"), percent(found.network.accuracy),
            percent_range(low, high), "", "",
        )  # fmt: skip
    out.print(table)
    if found.network is not None and found.network.accuracy <= found.best.accuracy:
        out.print(
            Text(f"{found.best.title} is at least as accurate as the network: look before you ship it", style="bold")
        )
