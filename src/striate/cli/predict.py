"""`striate predict`: what a model sees in images."""

import os
from pathlib import Path
from typing import Annotated

import typer

from striate.cli.answers import write_json, write_table
from striate.cli.console import AsJson, Device, Download, is_live, log, track
from striate.cli.memory import importing
from striate.errors import InputError


def predict(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
    ],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Image files, or folders of them.")
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="How many classes to show for each image.")] = 5,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images computed at once.")] = 32,
    engine: Annotated[
        str,
        typer.Option(
            "--engine",
            metavar="auto|torch|compile|onnxruntime|openvino",
            help="What computes; auto takes the fastest that striate bench found to give the same answers.",
        ),
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="float32|bfloat16|near-ties|int8",
            help="Only engines that compute so. near-ties: bfloat16, and float32 again where two classes are close.",
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write each image there with its answer drawn on it (localization)."),
    ] = None,
    device: Device = "auto",
    download: Download = False,
    as_json: AsJson = False,
) -> None:
    """What a model sees in images. Unreadable files are named and never stop the others; exit code 1 when there were any, 2 when
    nothing that was named exists.

    Answers appear as they come; folders of any size pass through in the same memory.

    Example: striate predict runs/digits-digitnet-1 photo.jpg scans/ --top 3
    """
    if not any(map(os.path.exists, images)):
        names = ", ".join(map(str, images[:3])) + (", ..." if len(images) > 3 else "")
        raise InputError(
            f"{names} {'does' if len(images) == 1 else 'do'} not exist; name image files, or folders of them"
        )
    with importing():
        from striate.engines.predicting import EngineRequest, count_images, make_ready
        from striate.tasks.overlays import write_drawings

    num_images = count_images(images)
    request = EngineRequest(engine, precision, batch_size, num_images, device, download)
    predictor = make_ready(model, request, log=log)
    log(predictor.line)
    answers = predictor.answer_each(images, top=top, batch_size=batch_size, log=log)
    if out_dir is not None:
        answers = write_drawings(answers, predictor.about.task, out_dir, log=log)
    if as_json:
        head = {"engine": predictor.engine.kind.to_json(), "engine_line": predictor.line}
        shown = track(answers, "predicting", None) if is_live() else answers
        has_errors = write_json(shown, head)
    else:
        has_errors = write_table(answers)
    if has_errors:
        raise typer.Exit(1)
