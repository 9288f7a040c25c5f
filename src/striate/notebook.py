"""How results show themselves: one short line in Python, a small table in a notebook."""

import html
from collections.abc import Iterable

from striate.printable import printable


def html_table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """A titled table of names and values as HTML; everything is escaped."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{_safe(name)}</th><td>{_safe(value)}</td></tr>" for name, value in rows
    )
    return f"<table><caption style='text-align:left'><b>{_safe(title)}</b></caption>{cells}</table>"


def _safe(value: object) -> str:
    return html.escape(printable(str(value)))


class Shown:
    """A result that shows itself by its `facts`: a title and a few names and values. Dataclasses take it with
    repr=False.
    """

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        """The title, and (name, value) of what a person wants to see first."""
        raise NotImplementedError

    def __repr__(self) -> str:
        title, rows = self.facts()
        return printable(f"<{title}: " + ", ".join(f"{name} {value}" for name, value in rows) + ">")

    def _repr_html_(self) -> str:
        return html_table(*self.facts())
