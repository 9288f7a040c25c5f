"""`striate export` and `striate check`: a model for other engines, and the proof that it answers the same."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, complain, out, show_json, suggest
from striate.cli.memory import importing
from striate.cli.source_options import UNSAID, SourceOptions, reads_source

if TYPE_CHECKING:
    from striate.export.parity import ParityCheck

_MOST_ROWS = 5
_Model = Annotated[str, typer.Argument(metavar="MODEL", help="A run folder, a model.safetensors, or NETWORK:WEIGHTS.")]
_NumImages = Annotated[int, typer.Option("--num-images", min=1, help="How many images of SOURCE to compare at most.")]


@reads_source
def export(
    model: _Model,
    to: Annotated[str, typer.Option("--to", metavar="onnx|openvino|torch", help="For which engine.")],
    output: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file; RUN/exported/model.* or NETWORK.* by default."),
    ] = None,
    older_output: Annotated[Path | None, typer.Option("--output", hidden=True)] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="SOURCE",
            help="Images, a folder or a source to prove it on; built-in photos by default.",
        ),
    ] = None,
    num_images: _NumImages = 20,
    resize: Annotated[
        bool, typer.Option("--resize/--no-resize", help="Resize inside, or take pixels of the network's own size only.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace whatever lies at the output.")] = False,
    reading: SourceOptions = UNSAID,
    as_json: AsJson = False,
) -> None:
    """Export a model for ONNX Runtime, OpenVINO or PyTorch.

    One program from raw pixels to probabilities.
    It is compared with the model on real images; exit code 1, and nothing written, where they disagree.

    Example: striate export runs/digits-digitnet-1 --to onnx
    """
    with importing():
        from striate.export.exporting import export_model

    access = reading.access()
    exported = export_model(
        model,
        to,
        output=output or older_output,
        images=images,
        num_images=num_images,
        resize=resize,
        force=force,
        access=access,
    )
    if as_json:
        show_json(exported.to_json())
    else:
        _show_parity(exported.parity)
        for path in exported.files:
            size = f"  {path.stat().st_size / 1e6:,.1f} MB"
            out.print(Text.assemble(("wrote ", "bold"), str(path), (size, "dim")), soft_wrap=True)
    if not exported.parity.passed:
        complain(f"the exported model does not answer as the model does, so {exported.path} was not written")
        raise typer.Exit(1)
    if not as_json:
        suggest("striate", "check", model, str(exported.path), "PHOTOS", what="the proof again, on images of yours")


@reads_source
def check(
    model: _Model,
    exported: Annotated[
        Path, typer.Argument(metavar="EXPORTED", help="An .onnx, .xml or .pt2 file of striate export.")
    ],
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Images to compare on; built-in photos by default.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="onnxruntime|openvino|torch", help="What runs it.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load a .pt2 file although loading it could run code hidden in it.")
    ] = False,
    num_images: _NumImages = 20,
    reading: SourceOptions = UNSAID,
    as_json: AsJson = False,
) -> None:
    """Check that an exported file still agrees with its model.

    On real images: exit code 0, or 1 where it does not agree.

    Example: striate check runs/digits-digitnet-1 runs/digits-digitnet-1/exported/model.onnx photos/
    """
    with importing():
        from striate.export.exporting import check_exported

    access = reading.access()
    parity = check_exported(model, exported, source, num_images=num_images, engine=engine, trust=trust, access=access)
    if as_json:
        show_json(parity.to_json())
    else:
        _show_parity(parity)
    if not parity.passed:
        raise typer.Exit(1)
    if not as_json:
        suggest("striate", "bench", model, *([source] if source else []), what="which engine is fastest here")


def _show_parity(parity: "ParityCheck") -> None:
    figures = parity.to_json()
    table = Table(box=None, show_header=False)
    table.add_row("engine", parity.engine)
    if parity.temperatures is not None:
        table.add_row("temperature", " and ".join(f"{each:.3g}" for each in sorted(set(parity.temperatures))))
    table.add_row("same best class", f"{parity.num_equal_top1:,} of {parity.num_answers:,} answers")
    for name, key, limit in (
        ("largest difference", "largest_difference", "tolerance"),
        ("  of resized images", "largest_resized_difference", "resized_tolerance"),
    ):
        if figures[key] is not None:
            table.add_row(name, f"{figures[key]:.1e}  (tolerance {figures[limit]:.0e})")
    if parity.sizes:
        sizes = ", ".join(f"{height}x{width}" for height, width in parity.sizes[:_MOST_ROWS])
        more = f" and {len(parity.sizes) - _MOST_ROWS} more" if len(parity.sizes) > _MOST_ROWS else ""
        table.add_row("sizes", f"{sizes}{more}; in batches of {', '.join(str(size) for size in parity.batch_sizes)}")
    out.print(table)
    for problem in parity.problems:
        out.print(Text(problem))
    for kind, found in (("near tie", parity.ties), ("disagreement", parity.disagreements)):
        for one in found[:_MOST_ROWS]:
            line = f"{kind}: {one.model} by {one.margin:.1e} for the model, {one.exported} for the exported one"
            out.print(Text(line), soft_wrap=True)
    verdict = ("passed", "bold green") if parity.passed else ("failed", "bold red")
    out.print(Text.assemble("proof ", verdict))
