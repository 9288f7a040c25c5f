"""A data set listed in a CSV file, or in `labels.csv` inside a folder.

The first line names the columns, in any case and order: the image (path, file, filename, image or image_path), its
class by name (label, class, class_name, category, ...) or by number (class_index, label_index, or index where no
unknown column stands beside it), and optionally its split (split, subset or fold: train, val, dev, test_set, ..., or
nothing) and one object's box (x1, y1, x2, y2 or xmin, ymin, xmax, ymax) in pixels, the whole image being (0, 0, W, H).
Other columns have to be asked for. Commas, semicolons or tabs; UTF-8 with or without a mark. Relative paths are below
the CSV's folder, or the `root` asked for, and never lead out of it; absolute ones may name image files anywhere, which
is said.

A file `classes.csv` beside it (columns index, name, and optionally wnid or id) names the numbers; all its classes
count, in its order.
"""

import csv
import dataclasses
import io
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.files import read_regular_file
from striate.data.objects import ListedObject, Objects, gather
from striate.data.readers.access import FileImages, natural_order, printable
from striate.data.readers.columns import (
    INDEX_COLUMNS,
    LABEL_COLUMNS,
    PATH_COLUMNS,
    ChosenColumns,
    Columns,
    choose_columns,
    find_box,
    line_of,
    looks_like_row_numbers,
)
from striate.data.readers.folder_walk import is_image
from striate.data.readers.split_names import split_of
from striate.errors import DataError, InputError
from striate.printable import excerpt

NO_COLUMNS = Columns()
"""Asks for none."""
_MAX_CLASSES, _MAX_DIGITS = 1_000_000, 20
_MAX_HEADER_BYTES = 10_000
_NO_BOX = (math.nan,) * 4
MAX_TABLE_BYTES = 1 << 30
"""A table is read into memory whole; ten million lines have about half as many bytes."""


@dataclass(frozen=True)
class _Row:
    """One image as listed; `line` is its line in the file, from 1."""

    line: int
    path: str
    label: str
    split: int
    box: tuple[float, ...] | None = None

    @property
    def area(self) -> float:
        """Of the box, whichever way round its corners are; -1 where there is none, or it has none."""
        if self.box is None:
            return -1.0
        area = abs((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))
        return area if 0 < area < math.inf else -1.0


def read_table(path: Path, wanted: Columns = NO_COLUMNS) -> Dataset:
    """The data set that a CSV lists, by the columns `wanted` where they are named.

    Raises DataError with the line of what is wrong, the first file that is missing, or the question which column is the
    class; InputError for a column that is not there.
    """
    columns, rows = read_rows(path)
    chosen = choose_columns(path, columns, [fields for _, fields in rows], wanted)
    chosen = dataclasses.replace(chosen, box=find_box(path, columns))
    listed = [
        _Row(
            line=line,
            path=_required(fields[chosen.path], f"{path}, line {line}: no path"),
            label=_label(fields, chosen, f"{path}, line {line}"),
            split=NO_SPLIT if chosen.split is None else _split_number(fields[chosen.split], f"{path}, line {line}"),
            box=None if chosen.box is None else _box([fields[k] for k in chosen.box], f"{path}, line {line}"),
        )
        for line, fields in rows
    ]
    if not listed:
        raise DataError(f"{path} lists no images below its first line")
    root = _root(path, wanted)
    every = _find_files(path, root, listed)
    found, notices = _drop_repeats(path, every, has_boxes=chosen.box is not None)
    notices += _outside_notices(path, root, found)
    classes = path.with_name("classes.csv")
    labelled = [row for row in found if row.label]
    if not labelled:
        raise DataError(f"{path} names no class in any line")
    has_numbers = all(row.label.isdecimal() for row in labelled)
    has_index_labels = chosen.is_index or (classes.is_file() and has_numbers)
    class_names, known = _number_classes(path, labelled, classes) if has_index_labels else _collect_classes(labelled)
    labels = np.zeros(len(found), np.int64)
    labels[[bool(row.label) for row in found]] = known
    objects = None
    if chosen.box is not None:
        objects = _objects(every, found, class_names if has_index_labels else None)
    return Dataset(
        source=str(path),
        kind="csv",
        class_names=class_names,
        images=FileImages(root, [row.path for row in found]),
        labels=labels,
        given_splits=np.array([row.split for row in found], dtype=np.int8),
        has_index_labels=has_index_labels,
        notices=notices + _row_number_notices(columns[chosen.label], listed),
        columns=line_of(columns, chosen),
        root=root,
        boxes=None if chosen.box is None else np.array([row.box or _NO_BOX for row in found], float).reshape(-1, 4),
        objects=objects,
    )


def _label(fields: list[str], chosen: ChosenColumns, where: str) -> str:
    """The class of a line, which only a line with neither class nor box, for an image without objects, may leave
    empty.
    """
    has_box = chosen.box is not None and any(fields[k] for k in chosen.box)
    if chosen.box is not None and not has_box and not fields[chosen.label]:
        return ""
    return unicodedata.normalize("NFC", _required(fields[chosen.label], f"{where}: no class"))


def _objects(every: list[_Row], found: list[_Row], class_names: Sequence[str] | None) -> Objects:
    """The objects of all lines, by the images `found`; `class_names` where the table has their numbers."""
    per_image: dict[str, list[ListedObject]] = {row.path: [] for row in found}
    for row in every:
        if row.box is not None:
            x1, y1, x2, y2 = row.box
            number = None if class_names is None else int(row.label)
            known = number is None or number < len(class_names or ())
            name = row.label if number is None else class_names[number] if class_names and known else ""
            per_image[row.path].append(ListedObject(name, (x1, y1, x2, y2)))
    return gather(list(per_image.values()), class_names)


def read_column(path: str | Path, column: str, wanted: Columns = NO_COLUMNS) -> dict[str, str]:
    """What a column of a CSV says of each image, by the name that `read_table` gives it; the first of its rows counts.

    InputError for a column that is not there; otherwise raises as `read_table` does.
    """
    path = Path(path)
    columns, rows = read_rows(path)
    if column.lower() not in columns:
        raise InputError(f"{path} has no column {column!r}; its columns are {', '.join(columns)}")
    place = columns.index(column.lower())
    chosen = choose_columns(path, columns, [fields for _, fields in rows], wanted)
    values = {line: fields[place] for line, fields in rows}
    listed = [
        _Row(line, _required(fields[chosen.path], f"{path}, line {line}: no path"), "", NO_SPLIT)
        for line, fields in rows
    ]
    return {row.path: values[row.line] for row in reversed(_find_files(path, _root(path, wanted), listed))}


def _row_number_notices(column: str, rows: list[_Row]) -> tuple[str, ...]:
    if not looks_like_row_numbers([row.label for row in rows]):
        return ()
    return (
        f"the column {column}, taken for the class, counts the rows: {rows[0].label}, {rows[1].label}, "
        f"{rows[2].label}, ...; if another column is the class, name it with --label-column",
    )


def is_table(path: Path) -> bool:
    """Whether a file's first line, of which no more than a few kilobytes are read, names a column of paths."""
    with path.open("rb") as file:
        beginning = file.readline(_MAX_HEADER_BYTES)
    try:
        columns = re.split("[,;\t]", beginning.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return False
    return len(columns) > 1 and any(column.strip(' "\r\n').lower() in PATH_COLUMNS for column in columns)


def read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """(column names in lower case, [(line number, fields)]), all stripped of blanks around them."""
    try:
        data = read_regular_file(path, MAX_TABLE_BYTES)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(f"{path}, line {line}: holds a NUL character, so it is no CSV; save it as CSV UTF-8")
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, [field.strip() for field in fields]) for fields in reader if any(fields)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise DataError(f"{path} is empty; its first line should name the columns, such as path,label")
    columns = [column.lower() for column in rows[0][1]]
    for line, fields in rows[1:]:
        if len(fields) != len(columns):
            raise DataError(
                f"{path}, line {line}: {len(fields)} fields where the first line names {len(columns)} columns"
            )
    return columns, rows[1:]


def _find_column(columns: Sequence[str], names: Sequence[str]) -> int | None:
    return next((columns.index(name) for name in names if name in columns), None)


def _required(text: str, complaint: str) -> str:
    if not text:
        raise DataError(complaint)
    return text


def _split_number(text: str, where: str) -> int:
    if not text:
        return NO_SPLIT
    split = split_of(text)
    if split is None:
        raise DataError(f"{where}: split {excerpt(text)!r} should be train, validation or test, or left empty")
    return SPLITS.index(split)


def _root(table: Path, wanted: Columns) -> Path:
    """The folder that relative paths begin at. DataError where the one asked for is none."""
    if wanted.root is None:
        return table.parent
    root = Path(wanted.root).expanduser()
    if not root.is_dir():
        raise DataError(f"--root {root} is not a folder; name the one that the paths in {table} begin at")
    return root


def _find_files(table: Path, folder: Path, rows: list[_Row]) -> list[_Row]:
    """The rows with their paths as on disk. Raises DataError for paths that lead out of the folder or to no file."""
    root = os.path.realpath(folder)
    inside: dict[str, bool] = {}  # folder -> whether it really lies below root
    found, missing = [], []
    for row in rows:
        path = row.path if os.path.exists(os.path.join(root, row.path)) else row.path.replace("\\", "/")
        if _leads_out(path, root, inside):
            raise DataError(
                f"{table}, line {row.line}: {_quoted(row)} leads out of {folder}; paths that begin elsewhere "
                "need --root"
            )
        if os.path.isfile(os.path.join(root, path)):
            found.append(dataclasses.replace(row, path=str(PurePosixPath(path))))
        else:
            missing.append(row)
    if missing:
        first = missing[0]
        raise DataError(
            f"{table} lists {len(rows)} files of which {len(missing)} are not there, the first in line {first.line}: "
            f"{_quoted(first)}; put them there, take their lines out, or name the folder that the paths begin at with "
            "--root"
        )
    return found


def _quoted(row: _Row) -> str:
    """The path as it is listed, fit to be shown."""
    return printable(excerpt(row.path))


def _leads_out(path: str, root: str, inside: dict[str, bool]) -> bool:
    """Whether a path steps up, reaches by a link what is not below `root`, or is absolute and no image file's."""
    parts = PurePosixPath(path)
    if parts.is_absolute() and is_image(path):
        return False
    if parts.is_absolute() or PureWindowsPath(path).drive or ".." in parts.parts:
        return True
    full = os.path.join(root, path)
    if os.path.islink(full):
        return not _is_below(os.path.realpath(full), root)
    folder = os.path.dirname(full)
    if folder not in inside:
        inside[folder] = _is_below(os.path.realpath(folder), root)
    return not inside[folder]


def _is_below(path: str, root: str) -> bool:
    return os.path.commonpath([path, root]) == root


def _box(fields: list[str], where: str) -> tuple[float, ...] | None:
    """The box that four fields give, None where all are empty; DataError for what is no box."""
    if not any(fields):
        return None
    try:
        x1, y1, x2, y2 = (float(field) for field in fields)
    except ValueError:
        raise DataError(
            f"{where}: the box {excerpt(', '.join(fields))} should be four numbers, or four empty fields"
        ) from None
    return x1, y1, x2, y2


def _outside_notices(table: Path, folder: Path, rows: list[_Row]) -> tuple[str, ...]:
    """A line on absolute paths that lie outside the folder that relative ones begin at, where there are any."""
    root = os.path.realpath(folder)
    outside = [row.path for row in rows if os.path.isabs(row.path) and not _is_below(os.path.realpath(row.path), root)]
    return (
        (f"{len(outside)} images of {table.name} lie outside {folder}, as {printable(excerpt(outside[0]))}",)
        if outside
        else ()
    )


def _largest(table: Path, rows: list[_Row]) -> tuple[list[_Row], tuple[str, ...]]:
    """Each file once, with its largest box; DataError where a file is listed with two splits."""
    kept: dict[str, _Row] = {}
    for row in rows:
        first = kept.setdefault(row.path, row)
        if first.split != row.split:
            raise DataError(
                f"{table}: {_quoted(row)} is listed in line {first.line} and, differently, in line {row.line}"
            )
        kept[row.path] = max(first, row, key=lambda each: each.area)
    num_several = sum(count > 1 for count in Counter(row.path for row in rows).values())
    notices = (f"{table.name} lists several objects of {num_several:,} of {len(kept):,} images",) if num_several else ()
    return [row if row.area > 0 else dataclasses.replace(row, box=None) for row in kept.values()], notices


def _drop_repeats(table: Path, rows: list[_Row], *, has_boxes: bool = False) -> tuple[list[_Row], tuple[str, ...]]:
    """Each file once, with a notice of repeats; DataError where a file is listed with two classes or two splits. Of
    several boxes of a file the largest is kept.
    """
    if has_boxes:
        return _largest(table, rows)
    kept: dict[str, _Row] = {}
    for row in rows:
        first = kept.setdefault(row.path, row)
        if (first.label, first.split) != (row.label, row.split):
            raise DataError(
                f"{table}: {_quoted(row)} is listed in line {first.line} and, differently, in line {row.line}"
            )
    num_repeats = len(rows) - len(kept)
    notices = (f"{num_repeats} lines of {table.name} list a file again and were passed over",) if num_repeats else ()
    return list(kept.values()), notices


def _collect_classes(rows: list[_Row]) -> tuple[tuple[str, ...], np.ndarray]:
    """(class names, labels (N,) int64 that index them) of classes listed by name."""
    names = natural_order(sorted({row.label for row in rows}))
    places = {name: place for place, name in enumerate(names)}
    return tuple(names), np.array([places[row.label] for row in rows], dtype=np.int64)


def _number_classes(table: Path, rows: list[_Row], classes: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """(class names, labels (N,) int64 that index them) of classes listed by number, named by `classes` if it exists."""
    for row in rows:
        if not row.label.isdecimal() or len(row.label) > _MAX_DIGITS or int(row.label) >= _MAX_CLASSES:
            raise DataError(
                f"{table}, line {row.line}: class index {row.label[:_MAX_DIGITS]!r} should be a whole number from 0 "
                f"up, below {_MAX_CLASSES:,}"
            )
    labels = np.array([int(row.label) for row in rows], dtype=np.int64)
    if not classes.is_file():
        return tuple(str(index) for index in range(labels.max() + 1)), labels
    class_names = read_class_names(classes)
    for row in rows:
        if int(row.label) >= len(class_names):
            raise DataError(f"{table}, line {row.line}: class index {excerpt(row.label)} is not in {classes.name}")
    return class_names, labels


def read_class_names(path: Path) -> tuple[str, ...]:
    """The names in a `classes.csv`, in the order of its indices, which must be 0, 1, ...

    A name that occurs more than once gets its wnid (or id, or index) in brackets: "crane (n02012849)".
    """
    columns, rows = read_rows(path)
    index_column = _find_column(columns, INDEX_COLUMNS)
    name_column = _find_column(columns, ("name", *LABEL_COLUMNS))
    if index_column is None or name_column is None:
        raise DataError(
            f"{path} must have the columns index and name but its first line names {excerpt(', '.join(columns))}"
        )
    id_column = _find_column(columns, ("wnid", "id"))
    by_index = {fields[index_column]: fields for _, fields in rows}
    if len(by_index) < len(rows) or any(str(index) not in by_index for index in range(len(rows))):
        raise DataError(f"{path} must give each index from 0 to {len(rows) - 1} once")
    ordered = [by_index[str(index)] for index in range(len(rows))]
    counts = Counter(fields[name_column] for fields in ordered)
    unique_column = index_column if id_column is None else id_column
    names = tuple(
        fields[name_column] if counts[fields[name_column]] == 1 else f"{fields[name_column]} ({fields[unique_column]})"
        for fields in ordered
    )
    if len(set(names)) < len(names) or "" in names:
        raise DataError(f"{path} must give every class a name of its own")
    return names
