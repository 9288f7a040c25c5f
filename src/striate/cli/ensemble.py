"""`striate ensemble`: several runs as one model."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from striate.cli.console import AsJson, DataDir, Device, Download, log, out, show_json, suggest, track
from striate.cli.memory import importing
from striate.units import percent, percent_range

_TIMED = 32


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
    data_dir: DataDir = None,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Join runs into one model that averages their probabilities.

    What it gains over its best member and what it costs are told, on images that no member was trained on.

    Example: striate ensemble runs/a runs/b runs/c --out ensemble.safetensors
    """
    with importing():
        from striate.data.opening import Access
        from striate.errors import InputError
        from striate.evaluation.comparison import compare
        from striate.evaluation.ensembling import make_ensemble
        from striate.tasks.model import load_model, save_model

    if to.is_dir():
        raise InputError(f"{to} is a folder; name the file that the ensemble is to be written to")
    loaded = [load_model(each, device=device, download=download, log=log) for each in models]
    joined = make_ensemble(loaded, log=log).to(loaded[0].device)
    joined.provenance["ensemble"] = list(models)
    save_model(joined, to)
    document: dict[str, Any] = {"model": str(to), "members": list(models), "gain": None, "cost": None}
    if measure:
        access = Access(data_dir=data_dir, download=download, log=log, track=track)
        found = compare([*loaded, joined], source, split=split, names=[*models, str(to)], access=access)
        best = max(range(len(models)), key=lambda place: found.models[place].accuracy)
        pair = next((pair for pair in found.pairs if {pair.first, pair.second} == {best, len(models)}), None)
        document["gain"] = {
            "comparison": found.to_json(),
            "best_member": models[best],
            "accuracy": found.models[-1].accuracy,
            "over_best": found.models[-1].accuracy - found.models[best].accuracy,
            "over_mean": found.models[-1].accuracy - sum(each.accuracy for each in found.models[:-1]) / len(models),
            "p_value": None if pair is None else pair.p_value,
        }
        document["cost"] = {
            "parameters": _parameters(joined) / max(map(_parameters, loaded)),
            "size_bytes": to.stat().st_size,
            "time": _seconds(joined) / max(map(_seconds, loaded)),
        }
    if as_json:
        show_json(document)
        return
    if document["gain"] is not None:
        _show(document)
    out.print(f"model   {to}", highlight=False, soft_wrap=True)
    suggest("striate", "predict", str(to), "photo.jpg")


def _parameters(model: Any) -> int:
    return sum(param.numel() for param in model.network.parameters())


def _seconds(model: Any) -> float:
    """The least time of three for a batch of grey images."""
    import torch

    size = (_TIMED, model.preprocessing.channels, *model.preprocessing.crop_size)
    images = torch.full(size, 128, dtype=torch.uint8)
    took = []
    for _ in range(3):
        began_at = time.perf_counter()
        model.probabilities(images)
        took.append(time.perf_counter() - began_at)
    return min(took)


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
