"""`striate describe`: what a network is made of."""

from typing import Annotated

import typer
from rich.table import Table

from striate.cli.console import AsJson, out, show_json, tell
from striate.errors import InputError


def describe(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="A name from `striate networks`, timm:NAME, torchvision:NAME, a run folder or a model file.",
        ),
    ],
    input_size: Annotated[
        str | None,
        typer.Option("--input-size", metavar="CxHxW", help="Such as 3x227x227; the network's own by default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What a network is made of, layer by layer, in the order in which it runs.

    Example: striate describe alexnet --input-size 3x227x227
    """
    from striate.inspection.describe import describe as describe_reference

    description = describe_reference(network, input_size=_parse_size(input_size), tell=tell)
    if as_json:
        show_json(description.to_json())
        return
    table = Table(box=None, header_style="bold")
    for heading in ("layer", "kind", "output", "parameters", "multiply-adds", "activations"):
        table.add_column(heading, justify="left" if heading in ("layer", "kind", "output") else "right")
    for layer in description.layers:
        table.add_row(
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output_shape)),
            f"{layer.num_params:,}" if layer.num_params else "",
            f"{layer.macs:,}" if layer.macs else "",
            _size(layer.activation_bytes),
        )
    table.add_section()
    total = (f"{description.num_params:,}", f"{description.macs:,}", _size(description.activation_bytes))
    table.add_row("total", "", "", *total, style="bold")
    out.print(table)


def _parse_size(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--input-size needs channels, height and width such as 3x224x224 but got {text!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _size(size_bytes: int) -> str:
    """Bytes as a person reads them: 1.2 MB is 1,200,000 bytes."""
    if size_bytes < 1_000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1e3:.1f} kB" if size_bytes < 1_000_000 else f"{size_bytes / 1e6:.1f} MB"
