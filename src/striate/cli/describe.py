"""`striate describe`: what a network is made of, as a table, JSON or a page, and whether it keeps its promises."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, log, out, show_json, suggest
from striate.cli.memory import importing
from striate.errors import InputError
from striate.units import short_count, short_size

if TYPE_CHECKING:
    from striate.inspection.check_network import NetworkCheck
    from striate.inspection.layers import LayerDescription, NetworkDescription

_WIDE = 130
"""Columns from which on counts are shown in full."""


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
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with a drawing of the graph.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Try what every network promises instead; exit code 1 if one fails.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Describe a network layer by layer.

    Layers stand in the order in which they run.
    For one image: output, parameters, MACs (multiply-adds), receptive field and its stride in pixels, memory of the
    outputs.

    Example: striate describe alexnet --input-size 3x227x227
    """
    size = _parse_size(input_size)
    if check:
        if html is not None:
            raise InputError("--check tries the network and --html draws it; ask for one of them at a time")
        _check(network, size, as_json=as_json)
        return
    with importing():
        from striate.inspection.describe import describe as describe_reference

    description = describe_reference(network, input_size=size, log=log)
    if html is not None:
        from striate.reports.network_page import write_network_page

        write_network_page(description, html, name=network)
    if as_json:
        show_json(description.to_json() | ({} if html is None else {"page": str(html)}))
    elif html is not None:
        out.print(f"page  {html}", highlight=False, soft_wrap=True)
        suggest("striate", "train", "PHOTOS", "--network", network, "--dry-run", what=f"and open {html}")
    else:
        _show(description)
        suggest(
            "striate", "describe", network, *_size_words(input_size), "--html", "network.html", what="the same, drawn"
        )


def _size_words(input_size: str | None) -> list[str]:
    return [] if input_size is None else ["--input-size", input_size]


def _check(network: str, size: tuple[int, int, int] | None, *, as_json: bool) -> None:
    with importing():
        from striate.inspection.check_network import check_network

    results = check_network(network, size, log=log)
    if as_json:
        show_json([{"name": each.name, "passed": each.passed, "detail": each.detail} for each in results])
    else:
        for each in results:
            out.print(_check_line(each), soft_wrap=True)
        suggest("striate", "describe", network, what="layer by layer")
    if not all(each.passed for each in results):
        raise typer.Exit(1)


def _check_line(result: "NetworkCheck") -> Text:
    mark = Text("ok   ", style="green") if result.passed else Text("no   ", style="bold red")
    return mark + Text(f"{result.name}: {result.detail}", style="dim" if result.passed else "")


def _show(description: "NetworkDescription") -> None:
    count = "{:,}".format if out.width >= _WIDE else short_count
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=out.width < _WIDE)
    for heading in ("layer", "kind", "output"):
        table.add_column(heading, overflow="fold")
    for heading in ("params", "MACs", "receptive field", "stride", "outputs"):
        table.add_column(heading, justify="right", no_wrap=" " not in heading, max_width=9 if " " in heading else None)
    shows_energy = out.width >= _WIDE
    if shows_energy:
        table.add_column("energy", justify="right", no_wrap=True)
    for layer in description.layers:
        energy = [_microjoules(layer.energy_uj)] if shows_energy else []
        table.add_row(
            Text(layer.name),
            Text(layer.kind),
            "x".join(map(str, layer.output_shape)),
            count(layer.num_params) if layer.num_params else "",
            count(layer.macs) if layer.macs else "",
            *_field(layer, description.input_size),
            short_size(layer.activation_bytes) if layer.activation_bytes else "",
            *energy,
        )
    out.print(table)
    for line in _totals(description):
        out.print(Text(line), style="bold", soft_wrap=True)
    for notice in description.notices:
        out.print(Text(f"note: {notice}"), style="yellow", soft_wrap=True)


def _totals(description: "NetworkDescription") -> list[str]:
    frozen = description.num_params - description.num_trainable_params
    lines = [
        f"{description.num_params:,} parameters{f' ({frozen:,} frozen)' if frozen else ''} · "
        f"{description.macs:,} MACs · {short_size(description.activation_bytes)} of outputs"
    ]
    if description.forward_peak_bytes is not None:
        memory = f"inference memory for one image: {short_size(description.forward_peak_bytes)} at its peak"
        kept = description.training_bytes
        lines.append(memory + (f"; training memory: {short_size(kept)} an image" if kept is not None else ""))
    lines.append(f"energy for one image, an estimate for 45 nm (Horowitz 2014): {_microjoules(description.energy_uj)}")
    return lines


def _microjoules(energy: float) -> str:
    """Three digits: "0.0214 µJ", "61.7 µJ", "1,240 µJ"."""
    return "" if energy == 0 else f"{energy:,.0f} µJ" if energy >= 100 else f"{energy:.3g} µJ"


def _field(layer: "LayerDescription", input_size: tuple[int, int, int]) -> tuple[str, str]:
    """Size and stride of the receptive field: one number where height and width agree."""
    field = layer.receptive_field
    if field is None:
        return ("?", "") if layer.num_calls else ("", "")
    if field.size == (0, 0):
        return "none", ""
    if field.stride == (0, 0) and field.size == input_size[1:]:
        return "all", ""
    strides = ["–" if stride is None else f"{stride:.3g}" for stride in field.stride]
    return _pair(*map(str, field.size)), _pair(*strides)


def _pair(height: str, width: str) -> str:
    return height if height == width else f"{height}x{width}"


def _parse_size(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"--input-size needs channels, height and width such as 3x224x224 but got {text!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])
