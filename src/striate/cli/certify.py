"""`striate certify`: a radius within which no change can move the answer."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, Device, log, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent, percent_range


@reads_source
def certify(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
    ],
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="As for train; what the model was trained on by default.")
    ] = None,
    sigma: Annotated[str, typer.Option("--sigma", metavar="S", help="Standard deviation of the noise.")] = "0.25",
    samples: Annotated[int, typer.Option("--samples", min=1, help="Noisy copies of each image.")] = 1000,
    alpha: Annotated[float, typer.Option("--alpha", help="How often a certificate may be wrong.")] = 0.001,
    split: Annotated[
        str | None, typer.Option("--split", metavar="train|validation|test|all", help="Which part; test by default.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many images, drawn by the seed.")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="Which images and which noise.")] = 0,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Certify a model's predictions within l2 radii.

    Within the radius no change of the image at all can change what the smoothed model predicts.

    The prediction is a vote over noisy copies (randomised smoothing). Train with noise or attacks for radii worth
    having.

    Example: striate certify runs/mine --sigma 0.25 --limit 100
    """
    with importing():
        from striate.robustness.certify_model import certify_model
        from striate.robustness.request import parse_fraction
        from striate.tasks.model import load_model

    loaded = load_model(model, device=device, download=reading.download, log=log)
    result = certify_model(
        loaded, source, sigma=parse_fraction(sigma, "--sigma"), split=split, limit=limit, num_samples=samples,
        alpha=alpha, seed=seed, access=reading.access(),
    )  # fmt: skip
    figures = result.to_json()
    if as_json:
        show_json(figures)
        return
    out.print(
        Text(
            f"{result.split} part of {result.source}, {figures['num_images']} images; noise {figures['sigma']:g}, "
            f"{samples:,} samples, wrong at most once in {1 / alpha:,.0f}"
        ),
        soft_wrap=True,
    )
    table = Table(box=None, show_header=False)
    table.add_row("accuracy without noise", percent(figures["clean_accuracy"], 1))
    table.add_row("smoothed, radius above 0", percent(figures["smoothed_accuracy"], 1))
    for row in figures["certified"]:
        low, high = row["interval"]
        table.add_row(
            f"certified at {row['radius']:.3g}",
            f"{percent(row['accuracy'], 1)}  (95 % interval {percent_range(low, high, 1)})",
        )
    table.add_row("abstained", f"{figures['abstained']} images")
    out.print(table)
    suggest("striate", "attack", model, what="how little fools it without noise")
