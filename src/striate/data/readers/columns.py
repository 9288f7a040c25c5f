"""Which column of a table is the image, which its class and which its split: by name, as asked for, or else asked
back.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from striate.data.readers.access import printable
from striate.data.readers.split_names import split_of
from striate.errors import DataError, InputError
from striate.printable import excerpt

PATH_COLUMNS = (
    "path",
    "file",
    "filename",
    "image",
    "image_path",
    "filepath",
    "file_path",
    "file_name",
    "image_name",
    "img",
)
LABEL_COLUMNS = ("label", "class", "class_name", "category", "labels", "target")
INDEX_COLUMNS = ("index", "class_index", "label_index")
SPLIT_COLUMNS = ("split", "subset", "fold")
BOX_COLUMNS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
"""Of a box: its left, top, right and lower border in pixels."""
_MOST_NAMED = 12


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are asked for, by their names in any case; None leaves the choice to striate. `root`
    is the folder that its relative paths begin at, the table's own by default.
    """

    path: str | None = None
    label: str | None = None
    split: str | None = None
    root: str | None = None

    def __bool__(self) -> bool:
        return any(name is not None for name in (self.path, self.label, self.split, self.root))

    def to_json(self) -> dict[str, str | None]:
        """{"path", "label", "split", "root"}; the root is absolute, so that it is found from any folder."""
        root = None if self.root is None else os.path.abspath(os.path.expanduser(self.root))
        return {"path": self.path, "label": self.label, "split": self.split, "root": root}


def columns_from_json(stored: object) -> Columns:
    """The columns that a run was started with, from whatever its file says of them."""
    named = stored if isinstance(stored, dict) else {}
    return Columns(
        **{key: name for key in ("path", "label", "split", "root") if isinstance(name := named.get(key), str)}
    )


@dataclass(frozen=True)
class ChosenColumns:
    """Places of the columns, from 0; `is_index`: the class stands there by its number."""

    path: int
    label: int
    split: int | None
    is_index: bool
    box: tuple[int, ...] | None = None


def choose_columns(
    table: Path, columns: Sequence[str], rows: Sequence[Sequence[str]], wanted: Columns
) -> ChosenColumns:
    """The columns of `table`, whose first line has the names `columns` and whose other lines have the fields `rows`.

    A column is taken for the class without being asked for where its name says so; one called index only where no
    unknown column stands beside it, since spreadsheets call the number of the row that. Raises DataError with the names
    there are where the choice is not plain, InputError for a column asked for that is not there.
    """
    path = _find(table, columns, wanted.path, PATH_COLUMNS, "--path-column")
    split = _find(table, columns, wanted.split, SPLIT_COLUMNS, "--split-column")
    if split is not None and wanted.split is None and not _says_splits([fields[split] for fields in rows]):
        split = None  # the number of a fold, or the like
    if path is None:
        raise DataError(_which(table, columns, "the image", "--path-column", PATH_COLUMNS))
    label = _find(table, columns, wanted.label, LABEL_COLUMNS, "--label-column")
    if label is not None:
        return ChosenColumns(path, label, split, columns[label] in INDEX_COLUMNS)
    label = _find(table, columns, None, INDEX_COLUMNS[1:], "--label-column")
    if label is None and "index" in columns:
        known = {*PATH_COLUMNS, *SPLIT_COLUMNS, "index"}
        label = None if any(name not in known for name in columns) else columns.index("index")
    if label is None:
        raise DataError(_which(table, columns, "the class", "--label-column", (*LABEL_COLUMNS[:3], INDEX_COLUMNS[1])))
    return ChosenColumns(path, label, split, True)


def line_of(columns: Sequence[str], chosen: ChosenColumns) -> str:
    """A line that says which column was read as what: "columns: image from path, class from species, no split; not
    used: index".
    """
    split = "no split" if chosen.split is None else f"split from {columns[chosen.split]}"
    used = {chosen.path, chosen.label, chosen.split, *(chosen.box or ())}
    box = "" if chosen.box is None else f", box from {', '.join(columns[place] for place in chosen.box)}"
    others = [name or "(no name)" for place, name in enumerate(columns) if place not in used]
    more = (
        f"; not used: {', '.join(others[:_MOST_NAMED])}{', ...' if len(others) > _MOST_NAMED else ''}" if others else ""
    )
    return printable(
        f"columns: image from {columns[chosen.path]}, class from {columns[chosen.label]}{box}, {split}{more}"
    )


def find_box(table: Path, columns: Sequence[str]) -> tuple[int, ...] | None:
    """The places of the four columns of a box; None where there is none of them, DataError where only some are
    there.
    """
    for names in BOX_COLUMNS:
        there = [name for name in names if name in columns]
        if len(there) == len(names):
            return tuple(columns.index(name) for name in names)
        if len(there) > 1:
            missing = [name for name in names if name not in columns]
            raise DataError(
                f"{table} has the columns {', '.join(there)} of a box but not {', '.join(missing)}; a box needs all "
                "four"
            )
    return None


def looks_like_row_numbers(values: Sequence[str]) -> bool:
    """Whether these are 0, 1, 2, ... or 1, 2, 3, ... in the order of the rows, three at least."""
    return len(values) > 2 and any(all(value == str(k) for k, value in enumerate(values, start)) for start in (0, 1))


def _find(table: Path, columns: Sequence[str], wanted: str | None, usual: Sequence[str], option: str) -> int | None:
    """The place of the column that is asked for, or else of the first that has a usual name."""
    if wanted is None:
        wanted = next((name for name in usual if name in columns), None)
        if wanted is None:
            return None
    name = wanted.strip().lower()
    if name not in columns:
        raise InputError(f"{table} has no column {wanted!r}, which {option} names; there are: {_names(columns)}")
    if columns.count(name) > 1:
        raise DataError(
            f"{table} has {columns.count(name)} columns called {excerpt(name)!r}; give each a name of its own"
        )
    return columns.index(name)


def _says_splits(values: Sequence[str]) -> bool:
    """Whether any of the values is the name of a split; numbers of folds are not."""
    return any(split_of(value) is not None for value in values) or not all(value.isdecimal() for value in values)


def _which(table: Path, columns: Sequence[str], what: str, option: str, usual: Sequence[str]) -> str:
    return (
        f"{table}: the columns are {_names(columns)}; which is {what}? say so with {option} NAME, or call it "
        f"{' or '.join((', '.join(usual[:-1]), usual[-1]))}"
    )


def _names(columns: Sequence[str]) -> str:
    shown = ", ".join(printable(excerpt(name, 60)) or "(no name)" for name in columns[:_MOST_NAMED])
    return shown + (f", ... ({len(columns)} in all)" if len(columns) > _MOST_NAMED else "")
