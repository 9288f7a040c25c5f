"""`striate calibrate`: make a model as sure as it is right."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, DataDir, Device, Download, out, show_json, tell, track
from striate.cli.memory import importing


def calibrate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
    ],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]",
            help="Images that it was not trained on; the validation part of its own data by default.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="validation|test|all", help="Which part of SOURCE.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write the calibrated model; in MODEL's place by default."),
    ] = None,
    data_dir: DataDir = None,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Make a model as sure as it is right: fit a temperature that its probabilities are softened or sharpened by.

    No answer changes, only how sure it is. The temperature is kept in the model file; evaluate, predict and export heed it,
    and the report of a run is written anew.

    Example: striate calibrate runs/digits-lenet5-1
    """
    with importing():
        from striate.data.opening import Access
        from striate.recipes.calibrate import calibrate_file

    access = Access(data_dir=data_dir, download=download, tell=tell, track=track)
    result = calibrate_file(model, source, split=split, out=to, device=device, access=access)
    if as_json:
        show_json(result.to_json())
        return
    fit = result.fit
    out.print(
        Text.assemble(
            "temperature ",
            (f"{fit.temperature:.3f}", "bold"),
            f"  {_in_words(fit.temperature, fit.temperature_before)}, from {fit.num_images:,} images of the {fit.split} part "
            f"of {fit.source}",
        ),
        soft_wrap=True,
    )
    table = Table(box=None, header_style="bold")
    for heading in ("", "calibration error", "negative log-likelihood, nats"):
        table.add_column(heading, justify="right" if heading else "left")
    rows = [(f"{fit.split}, which it was fitted on", fit.before, fit.after)]
    if result.test is not None:
        rows.append(("test", *result.test))
    for name, before, after in rows:
        errors, losses = zip(
            *((each.calibration_error, each.negative_log_likelihood) for each in (before, after)), strict=True
        )
        table.add_row(
            name, " -> ".join(f"{100 * error:.2f} %" for error in errors), " -> ".join(f"{loss:.4f}" for loss in losses)
        )
    out.print(table)
    out.print(f"model   {result.path}", highlight=False, soft_wrap=True)
    if result.report is not None:
        out.print(f"report  {result.report}", highlight=False, soft_wrap=True)


def _in_words(temperature: float, before: float) -> str:
    if abs(temperature / before - 1) < 0.02:
        return "(it was about as sure as it should be)"
    return "(it was too sure)" if temperature > before else "(it was not sure enough)"
