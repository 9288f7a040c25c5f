"""`striate calibrate`: fit a softmax temperature."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import (
    AsJson,
    Device,
    out,
    show_json,
    suggest,
)
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent

if TYPE_CHECKING:
    from striate.evaluation.temperature_scaling import CalibrationMetrics, Fit


@reads_source
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
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Set it by hand and fit nothing; 1 undoes.")
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option("--coverage", metavar="0.9", help="Keep what predict --coverage needs instead; no temperature."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write the calibrated model; in MODEL's place by default."),
    ] = None,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Calibrate a model's probabilities by one temperature.

    A softmax temperature is fitted on the validation split. No prediction changes, only its probability. The
    temperature is kept in the model file; evaluate, predict and export use it.

    Example: striate calibrate runs/digits-digitnet-1
    """
    with importing():
        from striate.errors import InputError
        from striate.recipes.calibrate import calibrate_file, store_sets

    access = reading.access()
    if coverage is not None:
        if temperature is not None:
            raise InputError(
                "--coverage keeps a threshold for sets and changes no temperature; leave --temperature out"
            )
        path, sets = store_sets(model, coverage, source, split=split, out=to, device=device, access=access)
        if as_json:
            show_json({"model": str(path), "conformal": sets.to_json()})
            return
        out.print(
            Text(
                f"sets of {100 * coverage:g} % coverage, calibrated on {sets.num_images:,} {sets.split} images of "
                f"{sets.source}"
            ),
            soft_wrap=True,
        )
        out.print(f"model   {path}", highlight=False, soft_wrap=True)
        suggest("striate", "predict", str(path), "photo.jpg", "--coverage", f"{coverage:g}")
        return
    result = calibrate_file(model, source, split=split, temperature=temperature, out=to, device=device, access=access)
    if as_json:
        show_json(result.to_json())
        return
    if result.fit is not None:
        _show_fit(result.fit, result.test)
    if result.path is None:
        out.print(f"nothing was changed: these images ask for no other temperature than {result.temperature:.3g}")
    else:
        out.print(f"model   {result.path}, temperature {result.temperature:.3f}", highlight=False, soft_wrap=True)
    if result.report is not None:
        out.print(f"report  {result.report}", highlight=False, soft_wrap=True)
    if result.fit is not None and result.path is not None and result.test is not None:
        before, after = (each.negative_log_likelihood for each in result.test)
        if after > before:
            undo = ["striate", "calibrate", str(to or model), "--temperature", f"{result.fit.temperature_before:g}"]
            out.print(
                "On the test part it fares worse than before: there were too few images to fit it on. To undo it:"
            )
            out.print(f"  {shlex.join(undo)}", highlight=False, soft_wrap=True)
    suggest("striate", "evaluate", str(result.path or model), what="the figures with the temperature")


def _show_fit(fit: "Fit", test: "tuple[CalibrationMetrics, CalibrationMetrics] | None") -> None:
    low, high = fit.interval
    out.print(
        Text.assemble(
            "temperature ",
            (f"{fit.temperature:.3f}", "bold"),
            f"  {_in_words(fit)}; 95 % interval {low:.3f} to {high:.3f}, from {fit.num_images:,} images of the "
            f"{fit.split} part of {fit.source}",
        ),
        soft_wrap=True,
    )
    table = Table(box=None, header_style="bold")
    for heading in ("", "calibration error", "negative log-likelihood, nats"):
        table.add_column(heading, justify="right" if heading else "left")
    rows = [(f"{fit.split}, which it was fitted on", fit.before, fit.after)]
    if test is not None:
        rows.append(("test", *test))
    for name, before, after in rows:
        table.add_row(
            name,
            f"{percent(before.calibration_error)} -> {percent(after.calibration_error)}",
            f"{before.negative_log_likelihood:.4f} -> {after.negative_log_likelihood:.4f}",
        )
    out.print(table)


def _in_words(fit: "Fit") -> str:
    if not fit.is_change:
        return "(it is as sure as it should be, as far as these images tell)"
    return "(it was too sure)" if fit.temperature > fit.temperature_before else "(it was not sure enough)"
