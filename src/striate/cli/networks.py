"""`striate networks`: the catalogue."""

from typing import Annotated

import typer
from rich.table import Table

from striate.cli.console import AsJson, out, show_json


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
    for heading in (
        "name",
        "family",
        "year",
        "input",
        "parameters",
        "multiply-adds",
        "published top-1 error",
        "weights",
    ):
        table.add_column(heading, justify="left" if heading in ("name", "family", "input", "weights") else "right")
    for row in rows:
        error = (row["published"] or {}).get("top1_error")
        table.add_row(
            row["name"],
            row["family"],
            str(row["year"]),
            "x".join(map(str, row["input_size"])),
            f"{row['num_params']:,}",
            f"{row['macs']:,}",
            "" if error is None else f"{100 * error:.2f} %",
            ", ".join(row["weights"]),
        )
    out.print(table)
