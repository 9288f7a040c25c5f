"""`striate predict`: what a model sees in images."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from striate.cli.answers import write_json, write_table
from striate.cli.console import AsJson, Device, Nms, is_live, log, suggest, track
from striate.cli.explain import write_maps
from striate.cli.image_arguments import check_images
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source
from striate.errors import InputError

if TYPE_CHECKING:
    from striate.engines.predicting import EngineRequest
    from striate.tasks.model import Model


@reads_source
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
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain", metavar="METHOD", help="Also write what spoke for each answer, as striate explain does."
        ),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Write images with boxes or masks drawn there, and masks; with --explain, its maps [explained].",
        ),
    ] = None,
    tiles: Annotated[
        bool,
        typer.Option(
            "--tiles", help="Segmentation: at the image's own resolution, in overlapping tiles, however large it is."
        ),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write a table: path, class, probability.")
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes", metavar="PATH", help="Also write a detector's boxes: FILE.csv, FILE.json (COCO), a folder."
        ),
    ] = None,
    boxes_format: Annotated[
        str | None,
        typer.Option("--boxes-format", metavar="csv|coco|yolo|voc", help="Of --boxes; by its ending where it has one."),
    ] = None,
    nms: Nms = None,
    sort_into: Annotated[
        Path | None, typer.Option("--sort-into", metavar="DIR", help="Also copy each image into DIR/CLASS.")
    ] = None,
    links: Annotated[bool, typer.Option("--links", help="With --sort-into: links instead of copies.")] = False,
    uncertain: Annotated[
        int | None,
        typer.Option("--uncertain", min=1, metavar="N", help="Show only the N images it is least certain of."),
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option("--coverage", metavar="0.9", help="Sets of classes that hold the right one so often."),
    ] = None,
    flag_unfamiliar: Annotated[
        bool, typer.Option("--flag-unfamiliar", help="Flag images unlike those the model was trained on.")
    ] = False,
    average: Annotated[
        str | None,
        typer.Option("--average", metavar="mirror|six|ten_crop|five_scales", help="Average over views of each image."),
    ] = None,
    calibrate_on: Annotated[
        str | None,
        typer.Option(
            "--calibrate-on",
            metavar="SOURCE",
            help="Labelled images for --coverage and --flag-unfamiliar; its own by default.",
        ),
    ] = None,
    device: Device = "auto",
    reading: SourceOptions = UNSAID,
    as_json: AsJson = False,
) -> None:
    """Predict the classes of images.

    Unreadable files are named and never stop the others; exit code 1 when there were any, 2 when nothing that was named
    exists or holds images. Results appear as they come; folders of any size pass through in the same memory.

    Example: striate predict runs/digits-digitnet-1 photo.jpg scans/ --top 3
    """
    check_images(images)
    if explain is not None:
        with importing():
            from striate.explanation.methods import find_methods

        find_methods([explain])  # refused before anything is predicted
    if links and sort_into is None:
        raise InputError("--links says how images are sorted; name the folder with --sort-into DIR")
    with importing():
        from striate.tasks.classification.prediction_files import (
            check_sorting_folder,
            least_certain,
            sorting_into,
            writing_csv,
        )

    if sort_into is not None:
        check_sorting_folder(sort_into)
    with importing():
        from striate.tasks.detection.prediction_files import format_of, writing_boxes
    if boxes_format is not None and boxes is None:
        raise InputError("--boxes-format says how boxes are written; say where with --boxes PATH")
    boxes_as = None if boxes is None else format_of(boxes, boxes_format)
    with importing():
        from striate.engines.predicting import EngineRequest, count_images, make_ready
        from striate.tasks.overlays import check_drawing_folder, write_drawings

    if out_dir is not None and explain is None:
        check_drawing_folder(out_dir, images)
    head: dict[str, Any]
    class_names: tuple[str, ...] = ()
    if coverage is not None or flag_unfamiliar or average is not None:
        if engine not in ("auto", "torch") or precision not in (None, "float32"):
            raise InputError(
                "--coverage, --flag-unfamiliar and --average need PyTorch in float32; leave --engine and --precision "
                "out"
            )
        if boxes is not None:
            raise InputError(
                "--boxes writes what a detector finds, and the other options are for classifiers; leave it out"
            )
        if tiles:
            raise InputError("--tiles are for segmentation, and the other options for classifiers; leave it out")
        if out_dir is not None and explain is None:
            raise InputError("--out draws boxes, which a classifier has none of; leave it out")
        answers, head = _trusted(
            model, images, coverage, flag_unfamiliar, average, calibrate_on, top, batch_size, device, reading
        )
    else:
        num_images = count_images(images)
        request = EngineRequest(engine, precision, batch_size, num_images, device, reading.download)
        predictor = make_ready(model if nms is None else _with_nms(model, nms, request), request, log=log)
        log(predictor.line)
        task = predictor.about.task
        made = {"csv": csv, "sort_into": sort_into, "uncertain": uncertain, "boxes": boxes}
        task.check_written_as(name for name, wanted in made.items() if wanted is not None)
        class_names = task.class_names
        if tiles:
            answers = predictor.answer_in_tiles(images, log=log)
        else:
            answers = predictor.answer_each(images, top=top, batch_size=batch_size, log=log)
        head = {"engine": predictor.engine.kind.to_json(), "engine_line": predictor.line}
        if out_dir is not None and explain is None:
            answers = write_drawings(answers, predictor.about.task, out_dir, log=log)
    explained: list[dict[str, Any]] = []
    if explain is not None:
        out_dir = Path("explained") if out_dir is None else out_dir
        explained = write_maps(model, images, explain, out_dir, device=device, download=reading.download)
    with ExitStack() as stack:
        if boxes is not None and boxes_as is not None:
            answers = stack.enter_context(writing_boxes(answers, boxes, boxes_as, class_names))
        if csv is not None:
            answers = stack.enter_context(writing_csv(answers, csv))
        if sort_into is not None:
            answers = sorting_into(answers, sort_into, use_links=links)
        if uncertain is not None:
            answers = least_certain(track(answers, "predicting", None), uncertain)
        if as_json:
            head |= {"maps": explained} if explain is not None else {}
            shown = track(answers, "predicting", None) if is_live() and uncertain is None else answers
            has_errors = write_json(shown, head)
        else:
            has_errors = write_table(answers)
    if not as_json:
        for each in explained:
            log(f"{each['method']} for {each['class']}: {each['overlay']}")
    for place in (csv, boxes, sort_into):
        if place is not None:
            log(f"wrote {place}")
    if not as_json and not has_errors:
        suggest(*_next_words(model, images, is_explained=explain is not None, is_drawn=out_dir is not None))
    if has_errors:
        raise typer.Exit(1)


def _with_nms(model: str, nms: str, request: "EngineRequest") -> "Model":
    """The detector with this suppression, which no exported copy has."""
    with importing():
        from striate.tasks.model import load_model

    if request.engine not in ("auto", "torch") or request.precision not in (None, "float32"):
        raise InputError("--nms is computed by PyTorch in float32; leave --engine and --precision out")
    loaded = load_model(model, device=request.device, download=request.download, log=log)
    return replace(loaded, task=loaded.task.with_nms(nms))


def _next_words(model: str, images: list[Path], *, is_explained: bool, is_drawn: bool) -> list[str]:
    """What shows why the model answered so, or else how fast it could."""
    if is_explained or is_drawn:
        return ["striate", "bench", model]
    return ["striate", "explain", model, str(images[0])]


def _trusted(
    model: str,
    images: list[Path],
    coverage: float | None,
    flag_unfamiliar: bool,
    average: str | None,
    calibrate_on: str | None,
    top: int,
    batch_size: int,
    device: str,
    reading: SourceOptions,
) -> tuple[Iterator[Any], dict[str, Any]]:
    """Predictions with sets, flags or averages, and what the JSON document says of them."""
    with importing():
        from striate.evaluation.conformal import fit_conformal, stored_conformal
        from striate.evaluation.familiarity import fit_familiarity
        from striate.evaluation.trusted_predictions import TrustRequest, predict_trusted
        from striate.tasks.model import load_model

    loaded = load_model(model, device=device, download=reading.download, log=log)
    access = reading.access()
    fit = None
    if coverage is not None:
        fit = stored_conformal(loaded, coverage) if calibrate_on is None else None
        fit = fit or fit_conformal(loaded, coverage, calibrate_on, access=access)
        log(
            f"sets hold the right class at least {100 * coverage:g} % of the time, by {fit.num_images:,} {fit.split} "
            "images"
        )
    usual = fit_familiarity(loaded, calibrate_on, access=access) if flag_unfamiliar else None
    request = TrustRequest(conformal=fit, familiarity=usual, average=average)
    if usual is not None:
        log(f"unfamiliar: farther from {usual.source} than {100 * (1 - request.level):g} % of its own held-out images")
    head = {"engine": {"name": "torch", "precision": "float32"}, "conformal": fit and fit.to_json(), "average": average}
    return predict_trusted(loaded, images, request, top=top, batch_size=batch_size, log=log), head
