"""`striate predict`: what a model sees in images."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, Device, Download, complain, out, show_json, tell, track


def predict(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
    ],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Image files, or folders of them.")
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="How many classes to show for each image.")] = 5,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 32,
    device: Device = "auto",
    download: Download = False,
    as_json: AsJson = False,
) -> None:
    """What a model sees in images. Unreadable files are named and never stop the others; exit code 1 when there were any.

    Example: striate predict runs/digits-lenet5-1 photo.jpg scans/ --top 3
    """
    from striate.tasks.model import load_model

    loaded = load_model(model, device=device, download=download, tell=tell)
    predictions = loaded.predict(images, top=top, batch_size=batch_size, track=track)
    if as_json:
        show_json(predictions.to_json())
    else:
        table = Table("image", "class", "probability", box=None, header_style="bold")
        for prediction in predictions.predictions:
            for place, guess in enumerate(prediction.classes):
                path = Text(prediction.path if place == 0 else "", overflow="fold")
                table.add_row(path, Text(guess.name), _bar(guess.probability), style=None if place == 0 else "dim")
        if predictions.predictions:
            out.print(table)
        for error in predictions.errors:
            complain(f"{error.path}: {error.reason}")
    if predictions.errors:
        raise typer.Exit(1)


def _bar(probability: float) -> str:
    """A percentage with a bar of up to twenty cells."""
    return f"{100 * probability:5.1f} % " + "█" * round(20 * probability)
