"""`striate search`: the images of an index most like others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from striate.cli.console import AsJson, Device, Download, log, out, show_json, suggest, track
from striate.cli.image_arguments import check_images
from striate.cli.memory import importing
from striate.errors import InputError
from striate.units import percent

if TYPE_CHECKING:
    from striate.retrieval.searching import SearchResult

_MOST_QUERIES, _MOST_NAMES = 10, 5


def search(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="A file that striate index has written.")],
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE_OR_FOLDER...", help="What to search for; none with --check.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="So many images for each.")] = 10,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Where the index's model is now, if it has moved.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every image, also where there are cells.")
    ] = False,
    probes: Annotated[int, typer.Option("--probes", min=1, help="Cells to look into, of an index with cells.")] = 16,
    html: Annotated[Path | None, typer.Option("--html", metavar="PAGE", help="Write a page with thumbnails.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say which images of the source are not those of the index; exit 1 if any.")
    ] = False,
    download: Download = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Search an index for the images most like others.

    Each image found is compared with the source as it is now; the model must be the one the index was made with.

    Example: striate search photos.index new.jpg --top 5 --html found.html
    """
    if not images and not check:
        raise InputError(
            "name images to search for, or folders of them; --check alone compares the index with its source"
        )
    if images:
        check_images(images)
    with importing():
        from striate.data.opening import Access
        from striate.retrieval.index_file import load_index
        from striate.retrieval.searching import changed_images, search_index

    access = Access(download=download, log=log, track=track)
    loaded = load_index(index)
    document: dict[str, Any] = {}
    changes: dict[str, list[str]] = {}
    if check:
        changes = changed_images(loaded, access)
        document["changes"] = changes
    found = None
    if images:
        found = search_index(
            loaded,
            images,
            top=top,
            model=model,
            exact=exact,
            num_probes=probes,
            with_thumbnails=html is not None,
            device=device,
            access=access,
        )
        document |= found.to_json()
        if html is not None:
            from striate.reports.search_page import write_search_page

            log(f"wrote {write_search_page(found, html)}")
    if as_json:
        show_json(document)
    else:
        if found is not None:
            _show(found)
            if html is None:
                suggest("striate", "search", str(index), *map(str, images or ()), "--html", "found.html")
        if check:
            _show_changes(changes, len(loaded))
    if any(changes.values()) or (found is not None and found.errors):
        raise typer.Exit(1)


def _show(found: "SearchResult") -> None:
    value = "cosine" if found.metric == "cosine" else "distance"
    for query in found.queries[:_MOST_QUERIES]:
        out.print(Text(query.path, style="bold"), soft_wrap=True)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("", value, "class", "image", ""):
            table.add_column(heading, justify="right" if heading == value else "left", overflow="fold")
        for rank, hit in enumerate(query.hits, start=1):
            state = "" if hit.state in ("unchanged", "unknown") else hit.state
            table.add_row(str(rank), f"{hit.value:.4f}", Text(hit.label or ""), Text(hit.path), state)
        out.print(table)
    if len(found.queries) > _MOST_QUERIES:
        more = len(found.queries) - _MOST_QUERIES
        out.print(Text(f"and {more:,} more images searched for; --json names all", style="dim"))
    for error in found.errors:
        log(f"left out {error.path}: {error.reason}")
    if not found.is_exact:
        said = f"compared with {percent(found.compared, 1)} of {found.num_images:,} images; --exact with all"
        out.print(Text(said, style="dim"), soft_wrap=True)


def _show_changes(changes: dict[str, list[str]], num_images: int) -> None:
    if not any(changes.values()):
        out.print(f"all {num_images:,} images are those of the index, and there are no others")
        return
    for kind, names in changes.items():
        if names:
            shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
            out.print(Text(f"{kind:<8} {len(names):,}: {shown}"), soft_wrap=True)
