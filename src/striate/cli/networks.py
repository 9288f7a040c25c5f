"""`striate networks`: the catalogue."""

import re
from typing import Annotated

import typer
from rich.table import Table

from striate.cli.console import AsJson, out, show_json, suggest
from striate.cli.memory import importing
from striate.errors import InputError
from striate.units import percent, short_count


def networks(
    kind: Annotated[
        str, typer.Option("--kind", metavar="classifier|segmenter", help="What networks give.")
    ] = "classifier",
    family: Annotated[str | None, typer.Option("--family", help="Only this family, such as resnet.")] = None,
    since: Annotated[int | None, typer.Option("--since", metavar="YEAR", help="Only of this year or later.")] = None,
    until: Annotated[int | None, typer.Option("--until", metavar="YEAR", help="Only of this year or earlier.")] = None,
    max_params: Annotated[
        str | None, typer.Option("--max-params", metavar="COUNT", help="At most so many parameters, such as 5M.")
    ] = None,
    max_macs: Annotated[
        str | None, typer.Option("--max-macs", metavar="COUNT", help="At most so many multiply-adds, such as 300M.")
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Only those with published weights.")] = False,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="year|name|params|macs|error", help="Smallest first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the networks of the catalogue.

    With year, input, parameters, MACs and the error that their papers print.

    Example: striate networks --max-params 5M --sort error
    """
    with importing():
        from striate.networks.catalogue import list_networks

    rows = list_networks(
        kind=kind,
        family=family,
        since=since,
        until=until,
        max_params=_parse_count("--max-params", max_params),
        max_macs=_parse_count("--max-macs", max_macs),
        only_with_weights=weights,
        sort=sort,
    )
    if as_json:
        show_json(rows)
        return
    if not rows:
        out.print("no network of the catalogue is like that")
        suggest("striate", "networks", what="all of them")
        return
    table = Table(box=None, header_style="bold")
    for heading in ("name", "year", "input", "params", "MACs", "top-1 error", "on", "weights"):
        is_text = heading in ("name", "input", "on", "weights")
        table.add_column(
            heading,
            justify="left" if is_text else "right",
            no_wrap=heading not in ("name", "weights"),
            overflow="fold",
        )
    for row in rows:
        error = (row["published"] or {}).get("top1_error")
        table.add_row(
            row["name"],
            str(row["year"]),
            "x".join(map(str, row["input_size"])),
            short_count(row["num_params"]),
            short_count(row["macs"]),
            "" if error is None else percent(error),
            row["dataset"] or "",
            ", ".join(row["weights"]),
        )
    out.print(table)
    suggest("striate", "describe", rows[0]["name"], what="layer by layer")


def _parse_count(option: str, text: str | None) -> int | None:
    """5000000, 5M, 1.2G or 300k as a number."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgGbB]?)", text.strip())
    if found is None:
        raise InputError(f"{option} needs a count such as 300k, 5M or 1.2G but got {text!r}")
    return round(float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}[found[2].lower()])
