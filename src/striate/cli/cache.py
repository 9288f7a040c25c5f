"""`striate cache`: what striate keeps to save time, and getting rid of it."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, out, show_json, suggest
from striate.units import short_size


def cache(
    empty: Annotated[
        str | None, typer.Option("--empty", metavar="all|packs|engines|...", help="Delete everything, or one kind.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the cache holds, and clear it.

    Decoded images, measurements, fetched weights and sets: all of it can be made or fetched again.

    It is in $STRIATE_CACHE, else $XDG_CACHE_HOME/striate, else ~/.cache/striate.

    Example: striate cache --empty packs
    """
    from striate.data.cache import cache_dir
    from striate.data.cache_contents import cache_contents, empty_cache

    freed = None if empty is None else empty_cache(empty)
    entries = cache_contents()
    if as_json:
        show_json({"folder": str(cache_dir()), "freed_bytes": freed, "entries": [asdict(entry) for entry in entries]})
        return
    if freed is not None:
        out.print(f"freed {short_size(freed)}", highlight=False)
    out.print(Text(f"cache in {cache_dir()}" + ("" if entries else ": empty")), soft_wrap=True)
    table = Table(box=None, header_style="bold")
    for heading in ("kind", "files", "size", "holds"):
        table.add_column(heading, justify="right" if heading in ("files", "size") else "left")
    for entry in entries:
        table.add_row(entry.kind, f"{entry.num_files:,}", short_size(entry.size_bytes), Text(entry.holds))
    if entries:
        out.print(table)
        suggest("striate", "cache", "--empty", entries[0].kind, what="or all")
    else:
        suggest("striate", "data", "PHOTOS", what="what is in a folder of images")
