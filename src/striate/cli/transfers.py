"""`striate transfers`: who fools whom, over models and classical learners."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, Device, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.model_words import models_and_source
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent

if TYPE_CHECKING:
    from striate.baselines.transferability import Transferability

_ALL = "softmax,linear_svm,knn,tree"


@reads_source
def transfers(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... [SOURCE]", help="Models as for attack, then a source; the first's by default."
        ),
    ],
    learners: Annotated[
        str, typer.Option("--learners", metavar=_ALL, help="Learners fitted to the pixels beside them, or none.")
    ] = _ALL,
    method: Annotated[
        str, typer.Option("--method", metavar="mi_fgsm|pgd|fgsm|...", help="How images are made.")
    ] = "mi_fgsm",
    norm: Annotated[str, typer.Option("--norm", metavar="linf|l2|l1", help="How a change is measured.")] = "linf",
    epsilon: Annotated[
        str | None,
        typer.Option("--epsilon", metavar="E", help="Largest change, pixels being 0 to 1. [default: 8/255, 0.5, 12]"),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="train|validation|test|all", help="Which part; test by default.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many images, drawn by the seed.")] = 200,
    fitted: Annotated[int, typer.Option("--fitted", min=2, help="Images that learners are fitted to.")] = 5_000,
    to: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to draw the matrix (.png, .svg, .pdf).")
    ] = Path("transferability.png"),
    seed: Annotated[int, typer.Option("--seed", help="Which images and random numbers.")] = 0,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure who fools whom.

    Images made on each model and learner are tried on every one, and drawn as a matrix.

    Example: striate transfers runs/small runs/large photos --epsilon 8/255 --out who-fools-whom.png
    """
    with importing():
        from striate.baselines.transferability import transferability as measure
        from striate.reports.transferability_picture import draw_transferability
        from striate.robustness.ask import DEFAULT_EPSILON
        from striate.robustness.request import parse_fraction

    models, source = models_and_source(words)
    size = DEFAULT_EPSILON.get(norm, 8 / 255) if epsilon is None else parse_fraction(epsilon, "--epsilon")
    wanted = [] if learners == "none" else [each.strip() for each in learners.split(",") if each.strip()]
    found = measure(
        models, source, learners=wanted, epsilon=size, norm=norm, method=method, split=split, limit=limit,
        num_fitted=fitted, seed=seed, device=device, access=reading.access(),
    )  # fmt: skip
    draw_transferability(found, to)
    if as_json:
        show_json(found.to_json() | {"picture": str(to)})
        return
    _show(found)
    out.print(Text(f"picture  {to}"), soft_wrap=True)
    suggest("striate", "attack", models[-1], "--through", models[0], what="one pair of them, with more attacks")


def _show(found: "Transferability") -> None:
    out.print(
        Text(
            f"{found.split} part of {found.source}, {found.num_images:,} images changed by at most {found.epsilon:.4g} "
            f"by {found.norm} ({found.method}); what undoes correct predictions of each column"
        ),
        soft_wrap=True,
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("made on \\ tried on", overflow="fold")
    for target in found.targets:
        table.add_column(Text(target), justify="right", overflow="fold")
    for source, row in zip(found.sources, found.cells, strict=True):
        table.add_row(Text(source), *(percent(cell.fooled, 1) for cell in row))
    correct = (percent(accuracy, 1) for accuracy in found.accuracies)
    table.add_row(Text("accuracy before", style="dim"), *(Text(each, style="dim") for each in correct))
    out.print(table)
