"""`striate texture`: a texture of any size from a small sample."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from striate.cli.console import AsJson, Device, Download, log, show_json, suggest
from striate.cli.memory import importing
from striate.cli.synthesis_display import DEFAULT_MODEL, ModelOption, Seed, output_path, say, watching
from striate.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from striate.synthesis.pictures import Synthesis
    from striate.synthesis.watching import Watch


def texture(
    sample: Annotated[Path, typer.Argument(metavar="SAMPLE", help="A picture of the texture.")],
    size: Annotated[str, typer.Option("--size", metavar="N|HxW", help="Pixels of the texture to make.")] = "256",
    method: Annotated[
        str,
        typer.Option("--method", metavar="gram|patches", help="Gram matrices of a network, or pixels of the sample."),
    ] = "gram",
    model: ModelOption = DEFAULT_MODEL,
    to: Annotated[Path | None, typer.Option("--out", metavar="FILE.png", help="The texture to write.")] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME", help="Layers whose Gram matrices count; may be repeated."),
    ] = None,
    sample_size: Annotated[
        int | None, typer.Option("--sample-size", min=16, help="Pixels of the sample's long side; its own by default.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of L-BFGS or Adam.")] = 200,
    optimizer: Annotated[str, typer.Option("--optimizer", metavar="lbfgs|adam", help="How to search.")] = "lbfgs",
    init: Annotated[
        Path | None, typer.Option("--init", metavar="FILE", help="Go on from a picture that was written before.")
    ] = None,
    radius: Annotated[int, typer.Option("--radius", help="With patches: pixels that a neighbourhood reaches.")] = 4,
    levels: Annotated[int, typer.Option("--levels", help="With patches: sizes, each half the next.")] = 4,
    seed: Seed = 0,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Make a texture of any size from a small sample.

    Tileable with Gram matrices.

    Example: striate texture bread.png --size 512 --model runs/mine
    """
    with importing():
        from striate.synthesis.patches import PatchConfig, synthesize_from_patches
        from striate.synthesis.pictures import read_picture, write_png
        from striate.synthesis.texture import TextureConfig

    if method not in ("gram", "patches"):
        raise InputError(f"textures are made by gram or patches but {method!r} was asked for")
    shape = _parse_size(size)
    path = output_path(to, "texture", sample.stem, method)
    pixels = read_picture(sample, size=sample_size, largest=True)
    started_at = time.perf_counter()
    if method == "patches":
        config = PatchConfig(shape, radius_px=radius, num_levels=levels, seed=seed)
        with watching(path, "weaving") as watch:
            result = synthesize_from_patches(pixels, config, watch=watch)
    else:
        gram = TextureConfig(shape, num_steps=steps, method=optimizer, seed=seed)  # type: ignore[arg-type]
        with watching(path, "weaving") as watch:
            result = _by_gram(pixels, gram, model, layers, init, watch, download=download, device=device)
    write_png(path, result.pixels)
    row: dict[str, object] = {"path": str(path), "method": method, "size": list(shape), "losses": result.losses}
    row |= {"seconds": time.perf_counter() - started_at, "stopped": result.was_stopped}
    if as_json:
        show_json({"pictures": [row]})
    else:
        say(f"picture   {path}, {time.perf_counter() - started_at:.0f} s")
        suggest("striate", "style", "photo.jpg", str(path), what="a photo painted with it")
    if result.was_stopped:
        raise typer.Exit(1)


def _by_gram(
    pixels: "np.ndarray",
    config: object,
    model: str,
    layers: list[str] | None,
    init: Path | None,
    watch: "Watch",
    *,
    download: bool,
    device: str,
) -> "Synthesis":
    from striate.synthesis.opening import needs_colour_and_any_size, open_model
    from striate.synthesis.pictures import read_picture
    from striate.synthesis.style_layers import choose_layers
    from striate.synthesis.texture import TextureConfig, synthesize_texture

    assert isinstance(config, TextureConfig)
    opened = open_model(model, device=device, download=download, log=log)
    needs_colour_and_any_size(opened)
    chosen = choose_layers(
        opened.pixel_model, config.size, network_name=opened.network_name, style=layers or (), content=layers or ()
    )
    begin = None if init is None else read_picture(init)
    return synthesize_texture(opened.pixel_model, pixels, config, layers=chosen, init=begin, watch=watch)


def _parse_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", text)
    if found is None:
        raise InputError(f"--size is N or HxW in pixels, such as 512 or 256x512, but got {text!r}")
    return int(found[1]), int(found[2] or found[1])
