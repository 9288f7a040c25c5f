"""`striate drift`: are new images of the same kind as old ones?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from striate.cli.console import AsJson, Device, log, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent

if TYPE_CHECKING:
    from striate.retrieval.drift import Drift

_MOST_CLASSES, _MOST_IMAGES = 5, 5
_LEAST_CHANGE = 0.02


@reads_source
def drift(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
    ],
    old: Annotated[str, typer.Argument(metavar="OLD", help="Images of the known kind: a source, or any folder.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The images in question: a source, or any folder.")],
    layer: Annotated[
        str | None,
        typer.Option("--layer", metavar="NAME", help="Whose output; by default what the last weighted layer is given."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many images of each.")] = 1_000,
    level: Annotated[
        float, typer.Option("--level", help="How often images without drift may be called drifted.")
    ] = 0.05,
    html: Annotated[Path | None, typer.Option("--html", metavar="PAGE", help="Write a page with examples.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 32,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which images and permutations.")] = 0,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Test whether incoming images have changed; exit code 1 if so.

    A two-sample test on features, and for a classifier on the classes it names, with the new images that are least
    like any old one.

    Example: striate drift runs/mine photos/2025 photos/2026 --html drift.html
    """
    with importing():
        from striate.retrieval.drift import find_drift
        from striate.tasks.model import load_model

    found = find_drift(
        load_model(model, device=device, download=reading.download, log=log),
        old,
        new,
        layer=layer,
        limit=limit,
        level=level,
        batch_size=batch_size,
        seed=seed,
        access=reading.access(),
    )
    if html is not None:
        from striate.reports.drift_page import write_drift_page

        log(f"wrote {write_drift_page(found, html)}")
    if as_json:
        show_json(found.to_json())
    else:
        _show(found)
        if html is None:
            suggest("striate", "drift", model, old, new, "--html", "drift.html", what="the same with images")
        else:
            suggest("striate", "evaluate", model, new, what="what it costs, where the new images have classes")
    if found.has_drifted:
        raise typer.Exit(1)


def _show(found: "Drift") -> None:
    says = "the new images are of another kind" if found.has_drifted else "no difference is shown"
    out.print(Text(says, style="bold"), soft_wrap=True)
    out.print(Text(f"{found.old}: {found.num_old:,} images; {found.new}: {found.num_new:,}"), soft_wrap=True)
    tests = [(f"features of {found.layer}", found.features), ("predicted classes", found.predictions)]
    for name, test in tests:
        if test is not None:
            out.print(Text(f"{name}: p-value {test.p_value:.3f}"), soft_wrap=True)
    changed = [each for each in found.classes if abs(each.new - each.old) >= _LEAST_CHANGE]
    if found.predictions is not None and found.predictions.p_value < found.level:
        for each in changed[:_MOST_CLASSES]:
            out.print(Text(f"  {each.name}: {percent(each.old, 1)} -> {percent(each.new, 1)} of predictions"))
    out.print(Text("least like any old image (distance of features, 0 to 2):"), soft_wrap=True)
    for image in found.strangest[:_MOST_IMAGES]:
        named = "" if image.predicted is None else f", predicted {image.predicted}"
        out.print(Text(f"  {image.distance:.2f}  {image.path}{named}"), soft_wrap=True)
