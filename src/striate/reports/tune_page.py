"""A search as one self-contained page: every trial, which settings mattered, what it cost, and the winner's test."""

from pathlib import Path
from typing import Any

from striate.data.cache import write_atomically
from striate.errors import InputError
from striate.reports.page import page_environment
from striate.version import __version__


def tune_page(found: dict[str, Any]) -> str:
    """The page as text, of what `Tuned.to_json` gives."""
    environment = page_environment(
        {
            "percent": lambda value: "–" if value is None else f"{100 * value:.2f} %",
            "number": lambda value: f"{value:.3g}" if isinstance(value, float) else str(value),
        }
    )
    trials = sorted(found["trials"], key=lambda trial: -(trial["score"] or 0))
    names = sorted({name for trial in trials for name in trial["settings"]})
    page: str = environment.get_template("tune.html.jinja").render(
        found=found, trials=trials, names=names, evaluation=found["winner"]["evaluation"], version=__version__
    )
    return page


def write_tune_page(found: dict[str, Any], path: str | Path) -> Path:
    """Write the page, replacing what is there, and give its path. InputError where it cannot be written."""
    path = Path(path)
    try:
        write_atomically(path, tune_page(found).encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; write it elsewhere") from None
    return path
