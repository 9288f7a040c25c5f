"""Which images belong together: by folder, class, split, a column of their table, or a pattern over their names."""

import re
from pathlib import Path, PurePosixPath

import numpy as np

from striate.data.dataset import SPLITS, Dataset
from striate.data.readers.columns import Columns
from striate.data.readers.table import NO_COLUMNS, read_column
from striate.errors import InputError

NO_MATCH, EMPTY = "(no match)", "(empty)"
BY_NAME = ("folder", "class", "split")


def image_groups(dataset: Dataset, by: str, *, columns: Columns = NO_COLUMNS) -> list[str]:
    """The group of each image, N names.

    `by` is "folder" (the folder that a file lies in), "class", "split", the name of a column of the CSV that lists the
    images, or a regular expression with one group in parentheses that is searched for in each image's name: what the
    parentheses match is the image's group, and NO_MATCH where nothing does. InputError for a column that is not there,
    a pattern that is none or has no parentheses, or one that matches no image.
    """
    names = [dataset.images.name(index) for index in range(len(dataset))]
    if by == "folder":
        return [str(PurePosixPath(name.replace("\\", "/")).parent) for name in names]
    if by == "class":
        return [dataset.class_names[label] for label in dataset.labels]
    if by == "split":
        return ["no split" if number < 0 else SPLITS[number] for number in dataset.given_splits]
    if "(" in by:
        return _by_pattern(names, by)
    if dataset.kind != "csv":
        raise InputError(
            f"group by {', '.join(BY_NAME)} or a pattern with parentheses such as '/(\\w+)_'; a column like {by!r} "
            f"needs a CSV, and {dataset.source} is none"
        )
    table = Path(dataset.source)
    values = read_column(table / "labels.csv" if table.is_dir() else table, by, columns)
    return [values.get(name, NO_MATCH) or EMPTY for name in names]


def groups_to_keep_whole(
    dataset: Dataset, by: str | None, *, columns: Columns = NO_COLUMNS
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The number of each image's group (N,) int64, for splits that keep groups whole, and lines on images that have
    none.

    An image without a group counts by itself. None where `by` is None; otherwise raises as `image_groups`.
    """
    if by is None:
        return None, ()
    if by in ("class", "split"):
        raise InputError(
            f"a {by} cannot be kept in one part: every part needs images of all classes; group by folder, a column of "
            "the CSV or a pattern with parentheses"
        )
    groups = image_groups(dataset, by, columns=columns)
    alone = [index for index, group in enumerate(groups) if group in (NO_MATCH, EMPTY)]
    for index in alone:
        groups[index] = f"\0{index}"
    numbers = group_numbers(groups)[1]
    lines = (
        (f"{len(alone):,} of {len(groups):,} images have no group by {by!r} and count each by itself",) if alone else ()
    )
    return numbers, lines


def group_numbers(groups: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The different groups in the order of their names, and the number of each image's, (N,) int64."""
    names, numbers = np.unique(np.array(groups), return_inverse=True)
    return tuple(names.tolist()), numbers.reshape(-1).astype(np.int64)


def _by_pattern(names: list[str], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"{pattern!r} is no regular expression: {error}") from None
    if compiled.groups < 1:
        raise InputError(f"{pattern!r} has no group in parentheses; what they match names the group of an image")
    found = [compiled.search(name) for name in names]
    if not any(found):
        raise InputError(f"{pattern!r} matches no image; names are such as {names[0]!r}")
    return [NO_MATCH if match is None else (match.group(1) or NO_MATCH) for match in found]
