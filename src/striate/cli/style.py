"""`striate style`: a photo painted in the style of other pictures, by optimisation or by a network trained for it."""

import time
from pathlib import Path
from typing import Annotated

import typer

from striate.cli.console import AsJson, Device, Download, log, show_json, suggest, track
from striate.cli.memory import importing
from striate.cli.synthesis_display import DEFAULT_MODEL, ModelOption, Seed, output_path, say, watching
from striate.errors import InputError


def style(
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONTENT STYLE...",
            help="A photo, and one or more pictures, or a style file; with --train a picture and a folder of photos.",
        ),
    ],
    train: Annotated[
        bool, typer.Option("--train", help="Train a network on a folder of photos to paint in one style in one pass.")
    ] = False,
    model: ModelOption = DEFAULT_MODEL,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The PNG to write; with --train the style file.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size", min=16, help="Pixels of the result's long side; 512, or CONTENT's own with a style file."
        ),
    ] = None,
    style_size: Annotated[
        int | None, typer.Option("--style-size", min=16, help="Pixels of the styles' long side; as --size by default.")
    ] = None,
    mix: Annotated[
        str | None, typer.Option("--mix", metavar="1,2,...", help="Weights of several styles; equal by default.")
    ] = None,
    style_weight: Annotated[
        float | None, typer.Option("--style-weight", help="Weight of style against content.")
    ] = None,
    variation: Annotated[float | None, typer.Option("--total-variation", help="Weight of total variation.")] = None,
    style_layers: Annotated[
        list[str] | None,
        typer.Option("--style-layer", metavar="NAME", help="Where style is taken from; may be repeated."),
    ] = None,
    content_layers: Annotated[
        list[str] | None, typer.Option("--content-layer", metavar="NAME", help="Where content is; may be repeated.")
    ] = None,
    keep_colours: Annotated[bool, typer.Option("--keep-colours", help="Give the result CONTENT's colours.")] = False,
    start: Annotated[str, typer.Option("--start", metavar="content|noise", help="Where to begin.")] = "content",
    init: Annotated[
        Path | None, typer.Option("--init", metavar="FILE", help="Go on from a picture that was written before.")
    ] = None,
    optimizer: Annotated[str, typer.Option("--optimizer", metavar="lbfgs|adam", help="How to search.")] = "lbfgs",
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Of the optimiser.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="200, or 1500 with --train.")] = None,
    crop: Annotated[int, typer.Option("--crop", min=32, help="With --train: pixels a side of training photos.")] = 192,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="With --train: photos a step.")] = 4,
    width: Annotated[int, typer.Option("--width", min=1, help="With --train: channels; the paper has 32.")] = 16,
    seed: Seed = 0,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Paint a photo in the style of another picture.

    Or of several pictures, mixed.
    The picture so far is written every few seconds; Ctrl-C keeps the best. A network trained once with --train paints
    any photo of any size in one pass; killed training goes on where it was when the same command is given again.

    Examples: striate style photo.jpg starry_night.jpg --size 512; striate style --train starry_night.jpg photos --out
    starry.safetensors; striate style photo.jpg starry.safetensors
    """
    if len(pictures) < 2:
        raise InputError("two names are needed: CONTENT and STYLE, or with --train a STYLE and a folder of photos")
    if not train and len(pictures) == 2 and pictures[1].suffix.lower() == ".safetensors":
        _paint(pictures[0], pictures[1], to, size, device=device, as_json=as_json)
        return
    with importing():
        from striate.synthesis.opening import needs_colour_and_any_size, open_model
        from striate.synthesis.pictures import read_picture, write_png
        from striate.synthesis.style import StyleConfig, transfer_style
        from striate.synthesis.style_layers import choose_layers

    if train:
        _train(
            pictures, to, model, style_size, style_weight, variation, style_layers, content_layers,
            steps, crop, batch_size, width, learning_rate, seed, download, device, as_json,
        )  # fmt: skip
        return
    config = StyleConfig(
        style_weight=100.0 if style_weight is None else style_weight,
        total_variation=1.0 if variation is None else variation,
        num_steps=steps or 200,
        method=optimizer,  # type: ignore[arg-type]
        learning_rate=learning_rate,
        keep_colours=keep_colours,
        start=start,
        seed=seed,
    )
    path = output_path(to, "style", *(each.stem for each in pictures))
    fractions = None if mix is None else _parse_mix(mix)
    long_side = size or 512
    content = read_picture(pictures[0], size=long_side, largest=True)
    styles = [read_picture(each, size=style_size or long_side, largest=True) for each in pictures[1:]]
    begin = None if init is None else read_picture(init)
    opened = open_model(model, device=device, download=download, log=log)
    needs_colour_and_any_size(opened)
    layers = choose_layers(
        opened.pixel_model,
        content.shape[:2],
        network_name=opened.network_name,
        style=style_layers or (),
        content=content_layers or (),
    )
    started_at = time.perf_counter()
    with watching(path, "painting") as watch:
        result = transfer_style(
            opened.pixel_model,
            content,
            styles,
            config,
            layers=layers,
            style_fractions=fractions,
            init=begin,
            watch=watch,
        )
    write_png(path, result.pixels)
    seconds = time.perf_counter() - started_at
    row = {"path": str(path), "size": list(result.pixels.shape[:2]), "loss": min(result.losses), "seconds": seconds}
    row |= {"losses": result.losses, "style_layers": layers.style, "content_layers": layers.content}
    row |= {"steps": len(result.losses), "stopped": result.was_stopped}
    if as_json:
        show_json({"pictures": [row]})
    else:
        say(
            f"picture   {path}, loss {result.losses[0]:.4g} -> {row['loss']:.4g} in {len(result.losses)} steps, "
            f"{seconds:.0f} s"
        )
        suggest("striate", "style", "--train", str(pictures[1]), "PHOTOS", what="a network that paints so in one pass")
    if result.was_stopped:
        log(f"go on from it with --init {path}")
        raise typer.Exit(1)


def _paint(content: Path, style_file: Path, to: Path | None, size: int | None, *, device: str, as_json: bool) -> None:
    """One pass of a trained style network."""
    started_at = time.perf_counter()
    with importing():
        from striate.synthesis.pictures import read_picture, write_png
        from striate.synthesis.style_network import load_style, paint

    path = output_path(to, "style", content.stem, style_file.stem)
    pixels = read_picture(content, size=size, largest=True)
    network = load_style(style_file)
    if device not in ("auto", "cpu"):
        from striate.tasks.model import pick_device

        network.to(pick_device(device))
    painted = paint(network, pixels)
    write_png(path, painted)
    seconds = time.perf_counter() - started_at
    if as_json:
        show_json({"pictures": [{"path": str(path), "size": list(painted.shape[:2]), "seconds": seconds}]})
    else:
        say(f"picture   {path}, {painted.shape[1]}x{painted.shape[0]} pixels in {seconds:.2f} s")
        suggest("striate", "style", str(content), str(style_file), "--size", "1024", what="larger")


def _train(
    pictures: list[Path],
    to: Path | None,
    model: str,
    style_size: int | None,
    style_weight: float | None,
    variation: float | None,
    style_layers: list[str] | None,
    content_layers: list[str] | None,
    steps: int | None,
    crop: int,
    batch_size: int,
    width: int,
    learning_rate: float | None,
    seed: int,
    download: bool,
    device: str,
    as_json: bool,
) -> None:
    """Train a style network, going on from the checkpoint beside its file where there is one."""
    from striate.synthesis.opening import needs_colour_and_any_size, open_model
    from striate.synthesis.pictures import read_picture
    from striate.synthesis.style_layers import choose_layers
    from striate.synthesis.style_network import StyleNetworkConfig, save_style
    from striate.synthesis.train_style import TrainStyleConfig, read_photos, train_style

    if len(pictures) != 2:
        raise InputError("--train needs two names: one STYLE picture and a folder of photos")
    path = to or Path(f"{pictures[0].stem}.safetensors")
    if path.suffix != ".safetensors" or path.is_dir():
        raise InputError(f"a style is written as safetensors but --out is {path}; let its name end in .safetensors")
    config = TrainStyleConfig(
        network=StyleNetworkConfig(widths=(width, 2 * width, 4 * width)),
        style_weight=10.0 if style_weight is None else style_weight,
        total_variation=0.5 if variation is None else variation,
        num_steps=steps or 1500,
        batch_size=batch_size,
        crop_px=crop,
        learning_rate=learning_rate or 2e-3,
        seed=seed,
    )
    picture = read_picture(pictures[0], size=style_size or 320, largest=True)
    opened = open_model(model, device=device, download=download, log=log)
    needs_colour_and_any_size(opened)
    photos = read_photos(pictures[1], crop, log=log, track=track)
    names = {"style": style_layers or (), "content": content_layers or ()}
    layers = choose_layers(opened.pixel_model, (crop, crop), network_name=opened.network_name, **names)
    checkpoint = path.with_suffix(".checkpoint")
    started_at = time.perf_counter()
    with watching(path.with_suffix(".png"), f"learning to paint like {pictures[0].name}") as watch:
        result = train_style(
            opened.pixel_model, picture, photos, config, layers=layers, checkpoint=checkpoint, watch=watch, log=log
        )
    if not result.was_stopped:
        save_style(result.network, path, about={"style": pictures[0].name, "steps": config.num_steps, "seed": seed})
        checkpoint.unlink(missing_ok=True)
    last = result.losses[-50:]
    row = {"path": str(checkpoint if result.was_stopped else path), "photos": len(photos), "losses": result.losses}
    row |= {"loss": sum(last) / max(1, len(last)), "seconds": time.perf_counter() - started_at}
    row |= {"stopped": result.was_stopped}
    if as_json:
        show_json({"styles": [row]})
    elif not result.was_stopped:
        say(f"style     {path}")
        suggest("striate", "style", "photo.jpg", str(path), what="paints a photo")
    if result.was_stopped:
        log(f"stopped; the state is in {checkpoint}, the same command goes on from it")
        raise typer.Exit(1)


def _parse_mix(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--mix takes numbers with commas between them, such as 2,1, but got {text!r}") from None
