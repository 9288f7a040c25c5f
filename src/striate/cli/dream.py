"""`striate dream`: a picture changed so that layers or units respond more."""

import time
from pathlib import Path
from typing import Annotated

import typer

from striate.cli.console import AsJson, Device, Download, log, show_json, suggest
from striate.cli.memory import importing
from striate.cli.synthesis_display import DEFAULT_MODEL, ModelOption, Seed, output_path, read_image, say, watching
from striate.errors import InputError


def dream(
    image: Annotated[
        Path | None, typer.Argument(metavar="[IMAGE]", help="Where the dream begins; noise where none is given.")
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    layers: Annotated[
        list[str] | None, typer.Option("--layer", metavar="NAME", help="A layer to dream of; may be repeated.")
    ] = None,
    units: Annotated[
        list[str] | None, typer.Option("--unit", metavar="LAYER:CHANNEL[:y,x]", help="A unit; may be repeated.")
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="A class; may be repeated.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--out", metavar="FILE.png", help="The picture to write.")] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="Pixels of the long side; the image's own, or 384, by default.")
    ] = None,
    octaves: Annotated[int, typer.Option("--octaves", min=1, help="Sizes, from coarse to fine.")] = 5,
    octave_scale: Annotated[float, typer.Option("--octave-scale", help="From one size to the next.")] = 1.35,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps at each size.")] = 12,
    strength: Annotated[float, typer.Option("--strength", help="Mean change of a step, values being 0 to 1.")] = 0.012,
    seed: Seed = 0,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Change a picture so that layers or units respond more.

    From coarse to fine; several layers have an equal say.

    Example: striate dream photo.jpg --model runs/mine --layer features.9
    """
    if not (layers or units or classes):
        raise InputError("name what to dream of: --layer NAME, --unit LAYER:CHANNEL or --class NAME")
    with importing():
        from striate.synthesis.dream import DreamConfig
        from striate.synthesis.dream import dream as deepen
        from striate.synthesis.fool import noise_pixels
        from striate.synthesis.opening import open_model
        from striate.synthesis.pictures import write_png
        from striate.synthesis.targets import named_targets

    config = DreamConfig(num_octaves=octaves, octave_scale=octave_scale, num_steps=steps, step_size=strength, seed=seed)
    path = output_path(to, "dream", "" if image is None else image.stem, *(layers or units or classes or [])[:1])
    opened = open_model(model, device=device, download=download, log=log)
    targets = named_targets(opened.class_names, classes or [], units or [], layers or [])
    if image is None:
        side = size or 384
        pixels = noise_pixels((side, side), opened.channels, seed) // 4 + 96
    else:
        pixels = read_image(image, opened, size)
    started_at = time.perf_counter()
    with watching(path, "dreaming") as watch:
        result = deepen(opened.pixel_model, pixels, tuple(targets.values()), config, watch=watch)
    write_png(path, result.pixels)
    row: dict[str, object] = {"path": str(path), "targets": list(targets), "size": list(result.pixels.shape[:2])}
    row |= {"seconds": time.perf_counter() - started_at, "steps": len(result.losses), "stopped": result.was_stopped}
    if as_json:
        show_json({"pictures": [row]})
    else:
        say(f"picture   {path}")
        suggest("striate", "describe", model, what="layers to dream by: --layer NAME")
    if result.was_stopped:
        raise typer.Exit(1)
