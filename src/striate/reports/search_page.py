"""What a search found, as one self-contained page of thumbnails."""

from pathlib import Path

from striate.reports.page import page_environment, write_page
from striate.reports.thumbnails import jpeg_address
from striate.retrieval.searching import SearchResult
from striate.version import __version__


def search_page(found: SearchResult) -> str:
    """The page as text; each image that was searched for, and beside it those most like it."""
    pictures = {key: jpeg_address(pixels) for key, pixels in found.thumbnails.items()}
    rows = [
        {
            "path": query.path,
            "picture": pictures.get(query.path),
            "hits": [{"hit": hit, "picture": pictures.get(hit.place)} for hit in query.hits],
        }
        for query in found.queries
    ]
    page: str = (
        page_environment({})
        .get_template("search.html.jinja")
        .render(found=found, rows=rows, name=Path(found.source).name or found.source, version=__version__)
    )
    return page


def write_search_page(found: SearchResult, path: str | Path) -> Path:
    """Write the page, replacing what is there, and give its path. InputError where it cannot be written."""
    return write_page(path, search_page(found))
