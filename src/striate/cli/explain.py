"""`striate explain`: which parts of an image speak for a class."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, Device, Download, complain, log, out, show_json, suggest, track
from striate.cli.image_arguments import check_images
from striate.cli.memory import importing
from striate.errors import InputError
from striate.units import counted, percent

if TYPE_CHECKING:
    from striate.explanation.writing import Written
    from striate.tasks.model import Model

METHOD_NAMES = (
    "saliency|gradient_x_input|integrated_gradients|smooth_grad|guided_backprop|deconvnet|grad_cam|grad_cam_plus_plus|"
    "guided_grad_cam|layer_cam|score_cam|occlusion|lime|all"
)

QUICK = (
    "saliency", "gradient_x_input", "guided_backprop", "deconvnet", "grad_cam", "grad_cam_plus_plus",
    "guided_grad_cam", "layer_cam",
)  # fmt: skip
"""Those that take a pass or two; --check runs each once for every stage."""


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
    cut_out: Annotated[
        bool,
        typer.Option("--cut-out", help="Also cut the object out: saliency as a seed for GrabCut (striate[cutout])."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Sanity check instead: do maps change when weights are shuffled? Exit code 1 if not."
        ),
    ] = False,
    curves: Annotated[
        bool, typer.Option("--curves", help="Deletion and insertion curves instead, beside noise and edges.")
    ] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images explained at once.")] = 16,
    device: Device = "auto",
    download: Download = False,
    as_json: AsJson = False,
) -> None:
    """Explain predictions by maps over the image.

    Overlays as PNG, raw maps as npz, and a sheet where there are several.
    Unreadable files are named and never stop the others; exit code 1 when there were any.

    Example: striate explain runs/flowers photo.jpg --method grad_cam --method saliency --top 3
    """
    check_images(images)
    if check and curves:
        raise InputError("--check and --curves measure different things; ask for one of them at a time")
    with importing():
        from striate.explanation.explain import explain as explain_images
        from striate.explanation.writing import write_cut_out, write_explanations
        from striate.tasks.model import load_model

    loaded = load_model(model, device=device, download=download, log=log)
    if check:
        _check(model, loaded, images, methods or list(QUICK), layer, out_dir, as_json=as_json)
        return
    if curves:
        _curves(model, loaded, images, methods or ["grad_cam", "saliency"], layer, batch_size, as_json=as_json)
        return
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
    cut_outs: list[dict[str, str]] = []
    errors: list[dict[str, str]] = []
    for number, each in enumerate(track(found, "explaining", None)):
        if isinstance(each, list):
            files, sheet = write_explanations(out_dir, number, each)
            written += files
            sheets += [] if sheet is None else [str(sheet)]
            if cut_out:
                cut_outs.append(write_cut_out(out_dir, number, loaded, each[0]))
        else:
            errors.append({"path": each.path, "reason": each.reason})
            if len(errors) > 1:
                complain(f"{errors[-2]['path']} {errors[-2]['reason']}")
    if not written:
        none = (
            f"none of the {len(errors)} images can be explained" if len(errors) > 1 else "there is nothing to explain"
        )
        raise InputError(f"{errors[-1]['path']} {errors[-1]['reason']}; {none}")
    if errors:
        complain(f"{errors[-1]['path']} {errors[-1]['reason']}")
    if as_json:
        show_json(
            {"maps": [each.to_json() for each in written], "sheets": sheets, "cut_outs": cut_outs, "errors": errors}
        )
    else:
        _show(written, sheets + [each["picture"] for each in cut_outs])
        suggest("striate", "explain", model, str(images[0]), "--check", what="do the maps depend on the weights?")
    if errors:
        raise typer.Exit(1)


def _check(
    name: str,
    model: "Model",
    images: list[Path],
    methods: list[str],
    layer: str | None,
    out_dir: Path,
    *,
    as_json: bool,
) -> None:
    from striate.explanation.measure import check_explanations
    from striate.explanation.writing import write_sanity

    checks = check_explanations(model, images, methods=methods, layer=layer, log=log, track=track)
    picture = write_sanity(out_dir, checks)
    if as_json:
        show_json({"sanity": [each.to_json() for each in checks], "picture": str(picture)})
    else:
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("weights shuffled down to", overflow="fold")
        for name in checks[0].layers:
            table.add_column(Text(name), justify="right")
        table.add_column("")
        for each in checks:
            figures = ["-" if similarity != similarity else f"{similarity:.2f}" for similarity in each.similarities]
            words = "" if each.depends_on_weights else "does not depend on the upper half"
            table.add_row(Text(each.method), *figures, Text(words + each.expectation))
        out.print(table)
        out.print("rank correlation with the maps of the trained network; - where no map is left", style="dim")
        out.print(Text(f"picture  {picture}"), soft_wrap=True)
        suggest("striate", "explain", name, str(images[0]), "--curves", what="do they show what counts?")
    if any(not each.depends_on_weights and not each.expectation for each in checks):
        raise typer.Exit(1)


def _curves(
    name: str,
    model: "Model",
    images: list[Path],
    methods: list[str],
    layer: str | None,
    batch_size: int,
    *,
    as_json: bool,
) -> None:
    from striate.explanation.measure import measure_curves

    rows = measure_curves(model, images, methods=methods, layer=layer, batch_size=batch_size, log=log, track=track)
    if as_json:
        show_json({"curves": rows})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("method", "deletion area (less is better)", "insertion area (more is better)"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row["method"], *(_with_interval(row, kind) for kind in ("deletion", "insertion")))
    out.print(table)
    out.print(f"{counted(rows[0]['num_images'], 'image')}; 95 % intervals in brackets", style="dim")
    suggest("striate", "look", name, what="what the first layer responds to")


def _with_interval(row: dict[str, Any], kind: str) -> str:
    low, high = row[f"{kind}_interval"]
    return f"{row[f'{kind}_area']:.3f}  ({low:.3f} to {high:.3f})"


def write_maps(
    model: str, images: list[Path], method: str, out_dir: Path, *, device: str, download: bool
) -> list[dict[str, Any]]:
    """The maps of each image's most probable class, written as `explain` does, as its JSON lists them; unreadable
    images are left out.
    """
    from striate.explanation.explain import explain as explain_images
    from striate.explanation.writing import write_explanations
    from striate.tasks.model import load_model

    loaded = load_model(model, device=device, download=download)
    written: list[dict[str, Any]] = []
    found = explain_images(loaded, images, methods=[method], log=log)
    for number, each in enumerate(track(found, "explaining", None)):
        if isinstance(each, list):
            written += [file.to_json() for file in write_explanations(out_dir, number, each)[0]]
    return written


def _show(written: "list[Written]", sheets: list[str]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("image", "class", "", "method", "layer", "overlay"):
        table.add_column(heading, overflow="fold")
    for each in written:
        about: Any = each.explanation
        share = percent(about.probability, 1)
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
