"""`striate networks`: the catalogue."""

from typing import Annotated

import typer
from rich.table import Table

from striate.cli.console import AsJson, out, show_json
from striate.reports.units import short_count


def networks(
    family: Annotated[str | None, typer.Option("--family", help="Only this family, such as resnet.")] = None,
    as_json: AsJson = False,
) -> None:
    """The networks in the catalogue, with their papers' figures.

    Example: striate networks --family resnet
    """
    from striate.networks.catalogue import list_networks

    rows = list_networks(family=family)
    if as_json:
        show_json(rows)
        return
    table = Table(box=None, header_style="bold")
    for heading in ("name", "year", "input", "parameters", "MACs", "top-1 error", "weights"):
        table.add_column(
            heading,
            justify="left" if heading in ("name", "input", "weights") else "right",
            no_wrap=heading != "weights",
        )
    for row in rows:
        error = (row["published"] or {}).get("top1_error")
        table.add_row(
            row["name"],
            str(row["year"]),
            "x".join(map(str, row["input_size"])),
            short_count(row["num_params"]),
            short_count(row["macs"]),
            "" if error is None else f"{100 * error:.2f} %",
            ", ".join(row["weights"]),
        )
    out.print(table)
