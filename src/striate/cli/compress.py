"""`striate compress` and `striate ledger`: smaller models, and what each step gains and costs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, DataDir, Device, Download, log, out, show_json, track
from striate.cli.memory import importing
from striate.errors import InputError


def compress(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run folder, a model file, or NETWORK:WEIGHTS.")],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]", help="Images to retrain and measure with; those it was trained on by default."
        ),
    ] = None,
    to: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write the compressed model.")] = Path(
        "compressed.striate"
    ),
    deep: Annotated[
        bool, typer.Option("--deep", help="Deep compression: prune, retrain, share, train centroids, code.")
    ] = False,
    ratio: Annotated[
        float | None, typer.Option("--ratio", help="How many times smaller than 32-bit weights the file should be.")
    ] = None,
    coder: Annotated[str, typer.Option("--coder", metavar="range|huffman", help="How symbols become bits.")] = "range",
    data_dir: DataDir = None,
    download: Download = False,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Make a model smaller; every step stands in a ledger measured on this machine, from the file on disk.

    Example: striate compress runs/mnist-lenet_300_100-1 --deep --ratio 40 --out small.striate
    """
    with importing():
        from striate.cli.progress_display import LiveDisplay
        from striate.compression.compress import compress as compress_model
        from striate.data.opening import Access

    if not deep and ratio is None:
        raise InputError(
            "say what to do to the model, such as --deep, or --deep --ratio 40; see striate compress --help"
        )
    access = Access(data_dir=data_dir, download=download, log=log, track=track)
    result = compress_model(
        model, source, to, ratio=ratio, coder=coder, access=access, device=device, observer=LiveDisplay
    )
    if as_json:
        show_json(result.to_json())
        return
    show_ledger(result.to_json()["ledger"])
    coding = result.coding
    out.print(
        f"{result.path}: {coding.file_bytes:,} bytes, {result.ratio:.1f} times smaller than 32-bit weights; coded symbols "
        f"{coding.coded_bytes:,} bytes, their entropy {coding.entropy_bytes:,.0f}",
        highlight=False,
        soft_wrap=True,
    )


def show_ledger(lines: list[dict[str, Any]]) -> None:
    """The ledger as a table."""
    table = Table(box=None, header_style="bold")
    headings = (
        "step",
        "bytes",
        "parameters",
        "non-zero",
        "MACs",
        "ms, batch 1",
        "ms, batch 32",
        "accuracy",
        "agrees",
        "NLL",
        "energy µJ",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for line in lines:
        table.add_row(
            Text(line["step"]),
            f"{line['file_bytes']:,}",
            f"{line['num_params']:,}",
            f"{line['num_nonzero']:,}",
            f"{line['macs']:,}",
            f"{line['ms_batch1']:.3f}",
            f"{line['ms_batch32']:.3f}",
            f"{100 * line['top1_accuracy']:.2f} %",
            f"{100 * line['agreement']:.2f} %",
            f"{line['negative_log_likelihood']:.4f}",
            f"{line['energy_uj']:,.1f}",
        )
    out.print(table)
