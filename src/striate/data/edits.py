"""What a user leaves out of a source, and labels otherwise, while the files stay as they are."""

import dataclasses
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from striate.data.dataset import Dataset
from striate.data.files import read_regular_file
from striate.data.readers.table import read_rows
from striate.errors import DataError, InputError
from striate.printable import excerpt, printable, spreadsheet_cell
from striate.progress import Log

MAX_LIST_BYTES = 64 << 20
MAX_STORED_BYTES = 4 << 20
"""Most bytes of names and classes that a run keeps: they go into the header of its model file."""
_NUM_NAMED = 3


@dataclass(frozen=True)
class Edits:
    """Images to leave out, by name, and classes in place of the source's, as (name, class) pairs.

    Names are those that the source gives its images, or paths to the same files.
    """

    excluded: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.excluded or self.labels)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"excluded": list(self.excluded), "labels": [list(pair) for pair in self.labels]}


NO_EDITS = Edits()


def edits_from_json(values: Any) -> Edits:
    """The inverse of `Edits.to_json`; none for None, InputError for anything else that it does not write."""
    if values is None:
        return NO_EDITS
    try:
        excluded, labels = values["excluded"], values["labels"]
        pairs = tuple((name, label) for name, label in labels)
        if all(isinstance(text, str) for text in (*excluded, *(text for pair in pairs for text in pair))):
            return Edits(tuple(excluded), pairs)
    except (KeyError, TypeError, ValueError):
        pass
    raise InputError(
        "what was left out and labelled anew is not stored as striate stores it; name a SOURCE, or train anew"
    )


def read_edits(exclude: str | Path | None = None, labels: str | Path | None = None) -> Edits:
    """The edits in two files: `exclude` lists paths, one a line, and `labels` is a CSV with the columns path and label.

    `exclude` is a list as `striate data --exclude-list` writes it (empty lines and those that begin with # count for
    nothing), or a CSV with a column path. A line of `labels` with an empty label changes nothing, as in the tables of
    `striate errors --csv`. Raises InputError for a file that cannot be read, has no such columns, or gives an image two
    classes.
    """
    excluded = () if exclude is None else _read_list(Path(exclude))
    pairs = () if labels is None else _read_labels(Path(labels))
    return Edits(excluded, pairs)


def apply_edits(dataset: Dataset, edits: Edits, log: Log) -> tuple[Dataset, np.ndarray, Edits]:
    """The source with its new labels, (N,) bool the images that are left out, and the edits by the source's own names.

    What was left out and how many labels changed is logged, and what names no image. Raises InputError where a list
    names no image at all, for a class that the source does not have, and for new labels where images have boxes,
    objects or masks.
    """
    left_out = np.zeros(len(dataset), bool)
    if not edits:
        return dataset, left_out, NO_EDITS
    places = _places(dataset)
    excluded = _find(dataset, places, list(edits.excluded), "to leave out", log)
    left_out[[place for place in excluded if place is not None]] = True
    if left_out.any():
        log(f"left out {int(left_out.sum()):,} of {len(dataset):,} images, as asked: {_some(dataset, left_out)}")
    labels, changed = _relabelled(dataset, places, edits.labels, log)
    names = [dataset.images.name(int(place)) for place in np.flatnonzero(left_out)]
    pairs = [(dataset.images.name(place), dataset.class_names[labels[place]]) for place in changed]
    found = Edits(tuple(names), tuple(pairs))
    size_bytes = sum(
        len(text.encode("utf-8", "surrogateescape")) for text in (*names, *(t for pair in pairs for t in pair))
    )
    if size_bytes > MAX_STORED_BYTES:
        raise InputError(
            f"{len(names):,} images to leave out and {len(pairs):,} new labels are more than a run keeps "
            f"({MAX_STORED_BYTES:,} bytes of names); make a CSV of the images and labels you want, and train on that"
        )
    return dataclasses.replace(dataset, labels=labels), left_out, found


def _relabelled(
    dataset: Dataset, places: dict[str, int], pairs: tuple[tuple[str, str], ...], log: Log
) -> tuple[np.ndarray, list[int]]:
    """Labels (N,) with the new ones in place, and the places of images whose class changed."""
    if not pairs:
        return dataset.labels, []
    if dataset.masks is not None or dataset.objects is not None or dataset.boxes is not None:
        raise InputError(f"--labels gives images one class each, and those of {dataset.source} have more; leave it out")
    numbers = {name: number for number, name in enumerate(dataset.class_names)}
    if unknown := sorted({label for _, label in pairs} - numbers.keys()):
        shown = ", ".join(repr(printable(excerpt(name, 60))) for name in unknown[:_NUM_NAMED])
        known = ", ".join(dataset.class_names[:8]) + (", ..." if len(dataset.class_names) > 8 else "")
        raise InputError(
            f"the new labels name {shown}{', ...' if len(unknown) > _NUM_NAMED else ''}, no class of {dataset.source}, "
            f"which has {known}; spell it as there, or leave the image out with --exclude"
        )
    found = _find(dataset, places, [name for name, _ in pairs], "with a new label", log)
    labels, given = dataset.labels.copy(), dict[int, str]()
    for place, (name, label) in zip(found, pairs, strict=True):
        if place is not None:
            if given.setdefault(place, label) != label:
                raise InputError(f"{printable(name)} has two new labels, {given[place]!r} and {label!r}; leave one")
            labels[place] = numbers[label]
    changed = np.flatnonzero(labels != dataset.labels)
    same = len(given) - len(changed)
    unchanged = f"; {same:,} had the class already" if same else ""
    log(f"{len(changed):,} label{'s' * (len(changed) != 1)} of {len(dataset):,} changed, as asked{unchanged}")
    return labels, changed.tolist()


def _places(dataset: Dataset) -> dict[str, int]:
    """The place of each image by its name, and by how a table for spreadsheets spells it."""
    names = [dataset.images.name(index) for index in range(len(dataset))]
    spelt = {spreadsheet_cell(name): index for index, name in enumerate(names)}
    return spelt | {name: index for index, name in enumerate(names)}


def _find(dataset: Dataset, places: dict[str, int], names: list[str], what: str, log: Log) -> list[int | None]:
    """The place of each image that is named, None for a name of none, which is told; InputError where no name is an
    image's.
    """
    roots = [Path(os.path.abspath(each)) for each in (dataset.root, dataset.source) if each is not None]
    found = [_place(name, places, roots) for name in names]
    unknown = [printable(excerpt(name)) for name, place in zip(names, found, strict=True) if place is None]
    if names and len(unknown) == len(names):
        raise InputError(
            f"none of the {len(names):,} images {what} is one of {dataset.source}, such as {unknown[0]!r}; "
            f"its images are called as {printable(dataset.images.name(0))!r}"
        )
    if unknown:
        shown = ", ".join(unknown[:_NUM_NAMED]) + (", ..." if len(unknown) > _NUM_NAMED else "")
        log(f"{len(unknown):,} of the {len(names):,} images {what} are not in {dataset.source}: {shown}")
    return found


def _place(name: str, places: dict[str, int], roots: list[Path]) -> int | None:
    """The image that a name, or a path from here or from the top, stands for."""
    for each in (name, str(PurePosixPath(name.replace("\\", "/")))):
        if each in places:
            return places[each]
    full = Path(os.path.abspath(name))
    below = (str(PurePosixPath(full.relative_to(root))) for root in roots if full.is_relative_to(root))
    return next((places[each] for each in (str(full), *below) if each in places), None)


def _read_list(path: Path) -> tuple[str, ...]:
    lines = _text(path, "--exclude").splitlines()
    kept = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if kept and len(columns := [cell.strip(' "').lower() for cell in kept[0].split(",")]) > 1 and "path" in columns:
        columns, rows = _rows(path)
        kept = [fields[columns.index("path")] for _, fields in rows]
    if not kept:
        raise InputError(f"{path} lists no images; name one in each line, as `striate data` names them")
    return tuple(dict.fromkeys(name for name in kept if name))


def _read_labels(path: Path) -> tuple[tuple[str, str], ...]:
    _text(path, "--labels")
    columns, rows = _rows(path)
    if missing := [name for name in ("path", "label") if name not in columns]:
        raise InputError(
            f"{path} has no column {missing[0]}; new labels are a CSV with the columns path and label, as "
            "`striate errors --csv` writes it"
        )
    at_path, at_label = columns.index("path"), columns.index("label")
    pairs = [(fields[at_path], fields[at_label]) for _, fields in rows if fields[at_path] and fields[at_label]]
    if not pairs:
        raise InputError(f"{path} gives no image a new label; write the right class into the column label")
    return tuple(dict.fromkeys(pairs))


def _rows(path: Path) -> tuple[list[str], Iterable[tuple[int, list[str]]]]:
    try:
        return read_rows(path)
    except DataError as error:
        raise InputError(str(error)) from None


def _text(path: Path, option: str) -> str:
    try:
        return read_regular_file(path, MAX_LIST_BYTES).decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise InputError(f"{path}, which {option} names, cannot be read: {error.strerror or error}") from None


def _some(dataset: Dataset, chosen: np.ndarray) -> str:
    indices = np.flatnonzero(chosen)
    names = [printable(dataset.images.name(int(index))) for index in indices[:_NUM_NAMED]]
    return ", ".join([*names, "..."] if len(indices) > _NUM_NAMED else names)
