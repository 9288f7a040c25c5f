"""What a person sees while a picture is made: a bar with the loss, the picture so far in its file, and Ctrl-C that
keeps the best.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from striate.cli.console import err, log, out
from striate.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from striate.synthesis.opening import OpenModel
    from striate.synthesis.watching import Snapshot, Watch

_SECONDS_BETWEEN_PICTURES = 5.0

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
]
ModelOption = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS."),
]
DEFAULT_MODEL = "squeezenet1_0:imagenet"
"""Published weights of 4.8 MB, fetched only with --download."""
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="The same seed gives the same picture.")]


@contextmanager
def watching(path: Path, what: str) -> "Iterator[Watch]":
    """A Watch that shows progress, writes the picture so far to `path` every few seconds, and stops on Ctrl-C."""
    from striate.synthesis.pictures import write_png
    from striate.synthesis.watching import Watch
    from striate.training.interrupts import catching_stop_requests

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4g}"),
    )
    written_at = time.monotonic()
    is_first = True
    with (
        catching_stop_requests() as request,
        Progress(*columns, TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal) as progress,
    ):
        task = progress.add_task(re.sub(r"\[", r"\\[", what), total=None, loss=float("nan"))

        def on_step(step: int, num_steps: int, loss: float, snapshot: "Snapshot") -> None:
            nonlocal written_at, is_first
            progress.update(task, completed=step, total=num_steps, loss=loss)
            if time.monotonic() - written_at > _SECONDS_BETWEEN_PICTURES and step < num_steps:
                write_png(path, snapshot())
                if is_first:
                    log(f"the picture so far is in {path}; Ctrl-C stops and keeps it")
                    is_first = False
                written_at = time.monotonic()

        yield Watch(on_step, lambda: request.is_set)


def output_path(out: Path | None, *words: str) -> Path:
    """The PNG to write: `out`, or a name made of the words in the current folder. InputError where `out` is no place
    for it.
    """
    if out is None:
        slug = "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-.")[:60] for word in words if word)
        return Path(f"{slug}.png")
    if out.is_dir():
        raise InputError(f"{out} is a folder; --out names the PNG file to write")
    if out.suffix.lower() != ".png":
        raise InputError(f"pictures are written as PNG but --out is {out}; let its name end in .png")
    return out


def read_image(path: Path, opened: "OpenModel", size: int | None) -> "np.ndarray":
    """The picture as the model's channels want it; `size` pixels of the long side, or as large as it is."""
    from striate.synthesis.pictures import read_picture

    return read_picture(path, channels=opened.channels, size=size, largest=True)


def say(text: str) -> None:
    """One line of the outcome, on standard output, nothing in it being markup."""
    out.print(text, highlight=False, soft_wrap=True, markup=False)
