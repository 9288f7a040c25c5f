"""`striate fool`: the least visible change after which a model answers with another class."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from striate.cli.console import AsJson, Device, Download, log, show_json, suggest
from striate.cli.memory import importing
from striate.cli.synthesis_display import DEFAULT_MODEL, ModelOption, Seed, output_path, say, watching
from striate.units import percent


def fool(
    image: Annotated[
        Path | None, typer.Argument(metavar="[IMAGE]", help="The picture to change; noise where none is given.")
    ] = None,
    class_name: Annotated[
        str, typer.Option("--class", metavar="NAME", help="The class to be answered, by name or number.")
    ] = ...,  # type: ignore[assignment]
    model: ModelOption = DEFAULT_MODEL,
    to: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE.png", help="The changed picture; a sheet with the difference lies beside it."
        ),
    ] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="Probability that the class must reach.")] = 0.9,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of the search.")] = 100,
    seed: Seed = 0,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the least change that makes a model predict a class.

    Exit code 1 where the class is not reached.
    The picture is first cut as the model's preprocessing says. The change survives rounding to 8 bits; a sheet shows
    the picture before, the difference magnified, and the picture after.

    Example: striate fool tulip.jpg --class daisy --model runs/flowers
    """
    with importing():
        from striate.synthesis.answering import answer
        from striate.synthesis.fool import FoolConfig, magnified_difference, noise_pixels
        from striate.synthesis.fool import fool as search
        from striate.synthesis.opening import open_model
        from striate.synthesis.pictures import read_picture, sheet, write_png
        from striate.tasks.classification.class_lookup import find_class

    config = FoolConfig(confidence=confidence, num_steps=steps)
    path = output_path(to, "fool", "noise" if image is None else image.stem, class_name)
    opened = open_model(model, device=device, download=download, log=log)
    index = find_class(class_name, opened.class_names)
    if image is None:
        before = noise_pixels(opened.size, opened.channels, seed)
    else:
        before = opened.preprocessing.to_pixels(read_picture(image, channels=opened.channels))
    started_at = time.perf_counter()
    with watching(path, f"looking for {opened.class_names[index]}") as watch:
        result = search(opened.pixel_model, before, index, config, watch=watch)
    difference, factor = magnified_difference(before, result.pixels)
    sheet_path = path.with_stem(f"{path.stem}-sheet")
    write_png(path, result.pixels)
    write_png(sheet_path, sheet([before, difference, result.pixels]))
    answers = [answer(opened.pixel_model, each) for each in (before, result.pixels)]
    row = {"path": str(path), "sheet": str(sheet_path), "class": opened.class_names[index], "fooled": result.is_fooled}
    for name, found in zip(("before", "after"), answers, strict=True):
        best = int(found.argmax())
        row[name] = {"answer": opened.class_names[best], "probability": float(found[best])}
    row |= {"probability": result.probability, "l2": result.l2, "largest": result.largest, "magnified": factor}
    row |= {"seconds": time.perf_counter() - started_at, "steps": len(result.losses), "stopped": result.was_stopped}
    if as_json:
        show_json({"pictures": [row]})
    else:
        _show(row)
        suggest("striate", "attack", model, what="how little fools it, over a whole set")
    if not result.is_fooled or result.was_stopped:
        raise typer.Exit(1)


def _show(row: dict[str, Any]) -> None:
    for name in ("before", "after"):
        say(f"{name:<9} {row[name]['answer']}, {percent(row[name]['probability'])}")
    say(
        f"change    at most {row['largest']} of 255 in a value, L2 norm {row['l2']:.1f}; shown times {row['magnified']}"
    )
    say(f"picture   {row['path']}")
    say(f"sheet     {row['sheet']}")
    if not row["fooled"]:
        say(
            f"not fooled: {row['class']} reached {percent(row['probability'])}; try more --steps or a lower "
            "--confidence"
        )
