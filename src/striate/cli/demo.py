"""`striate demo`: the main job on handwritten digits that need no download, and what to do next."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, err, log, out, show_json, track
from striate.cli.memory import importing
from striate.cli.progress_display import LiveDisplay
from striate.units import percent

if TYPE_CHECKING:
    from striate.recipes.train import Run

NUM_SAMPLES = 5


def demo(
    run: Annotated[
        Path | None,
        typer.Option("--run", "--run-dir", metavar="DIR", help="The run folder to make; runs/... by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train on handwritten digits, predict, show what is next.

    A small network, 1,797 real digits, five images that it has not seen.
    Takes seconds and fetches nothing.

    Example: striate demo
    """
    with importing():
        from striate.data.opening import Access
        from striate.recipes.train import train

    err.print("striate learns to read handwritten digits: 1,797 of them, 8 x 8 pixels, from scikit-learn", style="bold")
    display = LiveDisplay()
    finished = train("digits", run=run, access=Access(log=log, track=track), observer=display)
    samples = _predict_samples(finished)
    if as_json:
        show_json({**finished.to_json(), "samples": samples})
    elif finished.evaluation is not None:
        display.show_run(finished, advice=False)
        _show(finished, samples)
    if finished.status != "finished":
        raise typer.Exit(1)


def _predict_samples(run: "Run") -> list[dict[str, Any]]:
    """Five test images written out as PNG files, what each shows and what the model says of it."""
    from PIL import Image

    from striate.data.readers.sources import open_source
    from striate.engines.predicting import predict
    from striate.recipes.run_folder import read_splits

    if run.evaluation is None:
        return []
    digits = open_source("digits")
    place_of = {digits.images.name(place): place for place in range(len(digits))}
    folder = run.path / "samples"
    folder.mkdir(exist_ok=True)
    expected = {}
    for name in read_splits(run.path)["test"][:NUM_SAMPLES]:
        place = place_of[name]
        path = folder / f"digit-{place}.png"
        pixels = digits.images.read(place)
        assert not isinstance(pixels, bytes)
        Image.fromarray(pixels[..., 0]).save(path)
        expected[str(path)] = digits.class_names[digits.labels[place]]
    predictions = predict(run.path, list(expected)).predictions
    return [
        {"path": each.path, "expected": expected[each.path], "predicted": each.classes[0].name,
        "probability": each.classes[0].probability}
        for each in predictions
    ]  # fmt: skip


def _show(run: "Run", samples: list[dict[str, Any]]) -> None:
    table = Table(box=None, header_style="bold")
    for heading in ("image it has not seen", "expected", "predicted", "probability"):
        table.add_column(heading, justify="right" if heading == "probability" else "left")
    for sample in samples:
        style = "green" if sample["expected"] == sample["predicted"] else "bold red"
        table.add_row(
            Text(sample["path"]),
            sample["expected"],
            Text(sample["predicted"], style=style),
            percent(sample["probability"], 1),
        )
    out.print()
    out.print(table)
    out.print()
    out.print(Text.assemble("open the report: ", (str(run.report_path.resolve()), "bold")), soft_wrap=True)
    if activate := _activation():
        out.print(Text(f"to type striate instead of {sys.executable} -m striate: {activate}"), soft_wrap=True)
    out.print("next:", style="bold")
    for words, what in (
        (
            ["striate", "predict", str(run.path), samples[0]["path"] if samples else "photo.jpg"],
            "what it sees in an image",
        ),
        (["striate", "data", "PHOTOS"], "look at images of your own: a subfolder for each class"),
        (["striate", "train", "PHOTOS"], "train on them"),
    ):
        out.print(Text.assemble(f"  {shlex.join(words)}", (f"   # {what}", "dim")), soft_wrap=True)


def _activation() -> str:
    """How one activates the virtual environment that this Python belongs to; empty where none is, or it is active."""
    if sys.prefix == sys.base_prefix or os.environ.get("VIRTUAL_ENV") == sys.prefix:
        return ""
    own = Path(sys.prefix)
    shown = own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own
    return (
        str(shown / "Scripts" / "activate")
        if os.name == "nt"
        else f"source {shlex.quote(str(shown / 'bin' / 'activate'))}"
    )
