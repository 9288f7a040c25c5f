"""`striate explain`: which parts of an image speak for a class."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, Device, Download, complain, log, out, show_json, track
from striate.cli.memory import importing
from striate.errors import InputError

if TYPE_CHECKING:
    from striate.explanation.writing import Written

METHOD_NAMES = (
    "saliency|gradient_x_input|integrated_gradients|smooth_grad|guided_backprop|deconvnet|grad_cam|grad_cam_plus_plus|"
    "guided_grad_cam|layer_cam|score_cam|occlusion|lime|all"
)


def explain(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")
    ],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Image files, or folders of them.")
    ],
    methods: Annotated[
        list[str] | None,
        typer.Option("--method", metavar=METHOD_NAMES, help="How; may be repeated. grad_cam by default."),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Explain this class, by name or number; may be repeated."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Explain so many of the most probable classes.")] = 1,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="Where class activation maps are taken; the last spatial features by default.",
        ),
    ] = None,
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where pictures and maps go.")] = Path(
        "explained"
    ),
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images explained at once.")] = 16,
    device: Device = "auto",
    download: Download = False,
    as_json: AsJson = False,
) -> None:
    """Which parts of an image speak for a class: overlays as PNG, raw maps as npz, and a sheet where there are several.

    Unreadable files are named and never stop the others; exit code 1 when there were any.

    Example: striate explain runs/flowers photo.jpg --method grad_cam --method saliency --top 3
    """
    check_exist(images)
    with importing():
        from striate.explanation.explain import explain as explain_images
        from striate.explanation.writing import write_explanations
        from striate.tasks.model import load_model

    loaded = load_model(model, device=device, download=download, log=log)
    found = explain_images(
        loaded,
        images,
        methods=methods or ["grad_cam"],
        classes=classes or [],
        top=top,
        layer=layer,
        batch_size=batch_size,
        log=log,
    )
    written: list[Written] = []
    sheets: list[str] = []
    errors: list[dict[str, str]] = []
    for number, each in enumerate(track(found, "explaining", None)):
        if isinstance(each, list):
            files, sheet = write_explanations(out_dir, number, each)
            written += files
            sheets += [] if sheet is None else [str(sheet)]
        else:
            errors.append({"path": each.path, "reason": each.reason})
            complain(f"{each.path} {each.reason}")
    if not written:
        raise InputError(f"none of the {len(errors)} images can be explained; see the lines above")
    if as_json:
        show_json({"maps": [each.to_json() for each in written], "sheets": sheets, "errors": errors})
    else:
        _show(written, sheets)
    if errors:
        raise typer.Exit(1)


def check_exist(images: list[Path]) -> None:
    """Raise InputError where nothing that was named exists."""
    if not any(map(os.path.exists, images)):
        names = ", ".join(map(str, images[:3])) + (", ..." if len(images) > 3 else "")
        raise InputError(
            f"{names} {'does' if len(images) == 1 else 'do'} not exist; name image files, or folders of them"
        )


def _show(written: "list[Written]", sheets: list[str]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("image", "class", "", "method", "layer", "overlay"):
        table.add_column(heading, overflow="fold")
    for each in written:
        about: Any = each.explanation
        share = f"{100 * about.probability:.1f} %"
        words = (
            Path(about.path).name,
            about.class_name,
            share,
            about.method.name,
            about.layer or "",
            str(each.overlay),
        )
        table.add_row(*map(Text, words))
    out.print(table)
    for sheet in sheets:
        out.print(Text(f"sheet  {sheet}"), soft_wrap=True)
