"""What a test for drift found, as one self-contained page."""

from pathlib import Path

from striate.reports.page import page_environment, write_page
from striate.reports.thumbnails import jpeg_address
from striate.retrieval.drift import Drift
from striate.version import __version__

_MOST_CLASSES = 20


def drift_page(found: Drift) -> str:
    """The page as text, with a thumbnail of each of the strangest new images."""
    page: str = (
        page_environment({})
        .get_template("drift.html.jinja")
        .render(
            found=found,
            rows=list(zip(found.strangest, map(jpeg_address, found.examples), strict=True)),
            classes=found.classes[:_MOST_CLASSES],
            num_more=max(0, len(found.classes) - _MOST_CLASSES),
            version=__version__,
        )
    )
    return page


def write_drift_page(found: Drift, path: str | Path) -> Path:
    """Write the page, replacing what is there, and give its path. InputError where it cannot be written."""
    return write_page(path, drift_page(found))
