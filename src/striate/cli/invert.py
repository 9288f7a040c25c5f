"""`striate invert`: what layers still know of a picture."""

import time
from pathlib import Path
from typing import Annotated

import typer

from striate.cli.console import AsJson, Device, Download, log, show_json, suggest
from striate.cli.memory import importing
from striate.cli.synthesis_display import DEFAULT_MODEL, ModelOption, Seed, output_path, say, watching


def invert(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture to find again.")],
    layers: Annotated[
        list[str], typer.Option("--layer", metavar="NAME", help="The layer that is all that is known; may be repeated.")
    ],
    model: ModelOption = DEFAULT_MODEL,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.png", help="The picture and its inversions side by side.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps for each layer.")] = 200,
    variation: Annotated[float, typer.Option("--total-variation", help="Weight of total variation.")] = 0.3,
    parametrization: Annotated[
        str, typer.Option("--parametrization", metavar="fourier|pixels", help="What is searched in.")
    ] = "fourier",
    seed: Seed = 0,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show what a layer still knows of a picture.

    From noise a picture is found with the same output at the layer as IMAGE.
    IMAGE is cut as the model's preprocessing says. Each inversion is a PNG of its own, and a sheet shows them in order.

    Example: striate invert photo.jpg --model runs/mine --layer features.3 --layer features.9
    """
    with importing():
        from striate.synthesis.invert import InvertConfig
        from striate.synthesis.invert import invert as search
        from striate.synthesis.opening import open_model
        from striate.synthesis.pictures import read_picture, sheet, write_png

    config = InvertConfig(num_steps=steps, total_variation=variation, parametrization=parametrization, seed=seed)
    whole = output_path(to, "invert", image.stem)
    opened = open_model(model, device=device, download=download, log=log)
    pixels = opened.preprocessing.to_pixels(read_picture(image, channels=opened.channels))
    rows, pictures = [], [pixels]
    for place, layer in enumerate(dict.fromkeys(layers), 1):
        path = whole.with_stem(f"{whole.stem}-{place}")
        started_at = time.perf_counter()
        with watching(path, f"inverting {layer}") as watch:
            result = search(opened.pixel_model, pixels, layer, config, watch=watch)
        write_png(path, result.pixels)
        pictures.append(result.pixels)
        row = {"path": str(path), "layer": layer, "error": result.error, "steps": len(result.losses)}
        rows.append(row | {"seconds": time.perf_counter() - started_at, "stopped": result.was_stopped})
        if not as_json:
            say(f"picture   {path}: {layer}, relative error {result.error:.3f}")
        if result.was_stopped:
            break
    write_png(whole, sheet(pictures))
    if as_json:
        show_json({"pictures": rows, "sheet": str(whole)})
    else:
        say(f"sheet     {whole}")
        suggest("striate", "look", model, str(image), what="the maps that it was made from")
    if any(row["stopped"] for row in rows):
        raise typer.Exit(1)
