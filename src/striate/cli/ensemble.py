"""`striate ensemble`: several runs as one model."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from striate.cli.console import AsJson, Device, log, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.units import percent, percent_range


@reads_source
def ensemble(
    models: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two models or more, as for evaluate.")],
    to: Annotated[Path, typer.Option("--out", metavar="FILE", help="The model file to write.")] = Path(
        "ensemble.safetensors"
    ),
    source: Annotated[
        str | None,
        typer.Option("--on", metavar="SOURCE", help="Where the gain is measured; the first one's own data by default."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="train|validation|test|all", help="Which part; test by default.")
    ] = None,
    measure: Annotated[bool, typer.Option("--measure/--no-measure", help="Tell gain and cost.")] = True,
    reading: SourceOptions = UNSAID,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Join runs into one model that averages their probabilities.

    What it gains over its best member and what it costs are told, on images that no member was trained on.

    Example: striate ensemble runs/a runs/b runs/c --out ensemble.safetensors
    """
    with importing():
        from striate.errors import InputError
        from striate.evaluation.ensembling import ensemble_cost, ensemble_gain, make_ensemble
        from striate.tasks.model import load_model, save_model

    if to.is_dir():
        raise InputError(f"{to} is a folder; name the file that the ensemble is to be written to")
    loaded = [load_model(each, device=device, download=reading.download, log=log) for each in models]
    joined = make_ensemble(loaded, log=log).to(loaded[0].device)
    joined.provenance["ensemble"] = list(models)
    save_model(joined, to)
    document: dict[str, Any] = {"model": str(to), "members": list(models), "gain": None, "cost": None}
    if measure:
        gain = ensemble_gain(loaded, joined, source, split=split, names=[*models, str(to)], access=reading.access())
        document["gain"] = gain.to_json()
        document["cost"] = asdict(ensemble_cost(loaded, joined)) | {"size_bytes": to.stat().st_size}
    if as_json:
        show_json(document)
        return
    if document["gain"] is not None:
        _show(document)
    out.print(f"model   {to}", highlight=False, soft_wrap=True)
    suggest("striate", "predict", str(to), "photo.jpg")


def _show(document: dict[str, Any]) -> None:
    gain, cost = document["gain"], document["cost"]
    comparison = gain["comparison"]
    out.print(
        Text(f"{comparison['split']} part of {comparison['source']}, {comparison['num_images']:,} images"),
        soft_wrap=True,
    )
    for model in comparison["models"]:
        low, high = model["interval"]
        out.print(
            Text(
                f"  {percent(model['accuracy']):>8}  ({percent_range(low, high)})  log-loss "
                f"{model['negative_log_likelihood']:.4f}  {model['name']}"
            ),
            soft_wrap=True,
        )
    chance = "" if gain["p_value"] is None else f", p = {gain['p_value']:.2g}"
    out.print(
        Text(
            f"gain: {100 * gain['over_best']:+.2f} points over the best member{chance}, {100 * gain['over_mean']:+.2f} "
            f"over their mean; cost: {cost['parameters']:.1f} times the parameters and {cost['time']:.1f} times the "
            "time of the largest member"
        ),
        soft_wrap=True,
    )
