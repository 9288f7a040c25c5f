"""A cross-validation as one self-contained page: every fold, their mean and spread, every class."""

from pathlib import Path
from typing import Any

from striate.reports.page import page_environment, write_page
from striate.version import __version__


def folds_page(found: dict[str, Any]) -> str:
    """The page as text, of what `CrossValidation.to_json` gives."""
    environment = page_environment(
        {
            "points": lambda value: "–" if value is None else f"{100 * value:.2f}",
            "place": lambda path: Path(path).name,
            "words": lambda name: name.replace("_", " "),
        }
    )
    page: str = environment.get_template("folds.html.jinja").render(found=found, version=__version__)
    return page


def write_folds_page(found: dict[str, Any], path: str | Path) -> Path:
    """Write the page, replacing what is there, and give its path. InputError where it cannot be written."""
    return write_page(path, folds_page(found))
