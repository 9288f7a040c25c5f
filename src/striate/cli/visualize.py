"""`striate visualize`: pictures that a class, unit or layer answers most strongly."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli.console import AsJson, Device, Download, log, show_json, suggest
from striate.cli.memory import importing
from striate.cli.synthesis_display import ModelName, Seed, output_path, say, watching
from striate.errors import InputError
from striate.units import percent

if TYPE_CHECKING:
    from striate.synthesis.opening import OpenModel
    from striate.synthesis.targets import Target


def visualize(
    model: ModelName,
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="A class by name or number; may be repeated.")
    ] = None,
    units: Annotated[
        list[str] | None,
        typer.Option(
            "--unit", metavar="LAYER:CHANNEL[:y,x]", help="A channel of a layer, or one place of it; may be repeated."
        ),
    ] = None,
    layers: Annotated[
        list[str] | None, typer.Option("--layer", metavar="NAME", help="A whole layer; may be repeated.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="With several targets, the sheet of them all.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="Pixels a side; the model's own by default.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of gradient ascent.")] = 160,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Of Adam.")] = 0.015,
    parametrization: Annotated[
        str, typer.Option("--parametrization", metavar="fourier|pixels", help="What is climbed in.")
    ] = "fourier",
    keep_colours_apart: Annotated[
        bool, typer.Option("--plain-colours", help="Climb in red, green and blue instead of decorrelated colours.")
    ] = False,
    jitter: Annotated[int, typer.Option("--jitter", help="Random shifts of up to so many pixels.")] = 12,
    scale: Annotated[float, typer.Option("--scale", help="Random scales of up to so much more or less.")] = 0.1,
    rotation: Annotated[float, typer.Option("--rotation", help="Random turns of up to so many degrees.")] = 5.0,
    l2: Annotated[float, typer.Option("--l2", help="Shrink towards grey by this fraction a step (pixels only).")] = 0.0,
    blur: Annotated[float, typer.Option("--blur", help="Sigma in pixels of a periodic blur (pixels only).")] = 0.0,
    blur_every: Annotated[int, typer.Option("--blur-every", help="Steps between blurs.")] = 4,
    clip_pixels: Annotated[
        float, typer.Option("--clip-pixels", help="Fraction of the smallest pixels set to grey (pixels only).")
    ] = 0.0,
    clip_gradients: Annotated[
        float, typer.Option("--clip-gradients", help="Fraction of least effect set to grey (pixels only).")
    ] = 0.0,
    variation: Annotated[float, typer.Option("--total-variation", help="Weight of total variation.")] = 0.0,
    seed: Seed = 0,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Make the picture that a class or unit responds to most.

    By gradient ascent from noise.
    The picture so far is written every few seconds; Ctrl-C keeps it. Classes are answered by the model afterwards.

    Example: striate visualize runs/flowers --class tulips --unit features.9:12
    """
    if not (classes or units or layers):
        raise InputError("name what to visualise: --class NAME, --unit LAYER:CHANNEL or --layer NAME")
    with importing():
        from striate.synthesis.opening import open_model
        from striate.synthesis.pictures import sheet, write_png
        from striate.synthesis.regularizers import Regularizers
        from striate.synthesis.targets import named_targets
        from striate.synthesis.views import Views
        from striate.synthesis.visualize import AscentConfig
        from striate.synthesis.visualize import visualize as climb

    opened = open_model(model, device=device, download=download, log=log)
    config = AscentConfig(
        size=opened.size if size is None else (size, size),
        channels=opened.channels,
        num_steps=steps,
        learning_rate=learning_rate,
        parametrization=parametrization,
        use_decorrelated_colours=not keep_colours_apart,
        views=Views(jitter_px=jitter, scale=scale, rotation=rotation),
        regularizers=Regularizers(l2, blur, blur_every, clip_pixels, clip_gradients, variation),
        seed=seed,
    )
    targets = named_targets(opened.class_names, classes or [], units or [], layers or [])
    whole = output_path(to, "visualize", *([next(iter(targets))] if len(targets) == 1 else ["sheet"]))
    rows, pictures = [], []
    for place, (name, target) in enumerate(targets.items(), 1):
        path = whole if len(targets) == 1 else whole.with_stem(f"{whole.stem}-{place}")
        started_at = time.perf_counter()
        with watching(path, f"visualising {name}") as watch:
            result = climb(opened.pixel_model, target, config, watch=watch)
        write_png(path, result.pixels)
        pictures.append(result.pixels)
        rows.append(
            {"path": str(path), "target": name, "value": -result.losses[-1], "steps": len(result.losses)}
            | {"seconds": time.perf_counter() - started_at, "stopped": result.was_stopped}
            | _answer(opened, target, result.pixels)
        )
        if not as_json:
            _show(rows[-1])
        if result.was_stopped:
            break
    if len(targets) > 1:
        write_png(whole, sheet(pictures, columns=min(len(pictures), 4)))
    if as_json:
        show_json({"pictures": rows} | ({"sheet": str(whole)} if len(targets) > 1 else {}))
    else:
        if len(targets) > 1:
            say(f"sheet     {whole}")
        suggest("striate", "look", model, "PHOTOS", what="the patches of real images that excite its units most")
    if any(row["stopped"] for row in rows):
        raise typer.Exit(1)


def _answer(opened: "OpenModel", target: "Target", pixels: object) -> dict[str, object]:
    """The probability that the model gives a class's finished picture, and what it is most sure of."""
    from striate.synthesis.answering import answer
    from striate.synthesis.targets import ClassTarget

    if not isinstance(target, ClassTarget):
        return {}
    found = answer(opened.pixel_model, pixels)  # type: ignore[arg-type]
    best = int(found.argmax())
    return {
        "probability": float(found[target.index]),
        "answer": opened.class_names[best],
        "answer_probability": float(found[best]),
    }


def _show(row: dict[str, Any]) -> None:
    said = ""
    if "probability" in row:
        said = f", answered as {row['answer']} with {percent(row['answer_probability'])}"
    line = f"picture   {row['path']}: {row['target']}, value {row['value']:.4g}{said}"
    say(line)
