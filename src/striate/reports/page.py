"""The one way in which pages are made from templates: escaped, without control characters, no name forgotten."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from striate.data.cache import write_atomically
from striate.errors import InputError
from striate.printable import printable
from striate.units import page_percent, thousands


def page_environment(filters: dict[str, Callable[..., Any]], *, keep_newlines: bool = False) -> Environment:
    """Templates of this room with these filters beside Jinja's own and `percent` and `count`, one way on every page.

    Whatever a template shows is escaped for HTML, and control characters and overrides of direction in it are visible
    escapes; `keep_newlines` leaves line breaks alone. A name that is not given is an error.
    """

    def finalize(value: Any) -> Any:
        shown = isinstance(value, str) and not isinstance(value, Markup)
        return printable(value, keep_newlines=keep_newlines) if shown else value

    environment = Environment(
        loader=PackageLoader("striate", "reports/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    environment.filters |= {"percent": page_percent, "count": thousands} | filters
    return environment


def write_page(path: str | Path, text: str) -> Path:
    """Write a page, or a table beside one, replacing what is there, and give its path. InputError where it cannot be
    written.
    """
    path = Path(path)
    try:
        write_atomically(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; write it elsewhere") from None
    return path
