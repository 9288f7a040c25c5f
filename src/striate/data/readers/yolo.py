"""YOLO's text files: for each image a file of the same name, a line an object: class number, then centre x, centre y,
width and height as fractions of the image, and a score where a detector wrote it. Behind a class number there may be an
outline instead, three points x, y or more: the box is the one about it.

Text files lie beside the images, or in a folder that stands in the place of `images` in the image's path (`labels`,
`boxes`), be that `images/train` or `train/images`. Classes are named by `data.yaml` (or another .yaml with `names`),
`classes.txt`, `obj.names` or a `classes.csv`; without any of these they go by number. An image with an empty file, or
none where others have one, has no objects.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.files import open_file, read_regular_file
from striate.data.objects import ListedObject, gather, largest_of
from striate.data.parallel import map_in_order
from striate.data.readers.access import FileImages
from striate.data.readers.folder_walk import Findings, folders_in, is_image, walk_files
from striate.data.readers.split_names import split_of
from striate.data.readers.yolo_names import MAX_TEXT_BYTES, yolo_class_names
from striate.errors import DataError

IMAGES, LABELS = "images", ("labels", "boxes")
_NOT_LABELS = {"classes.txt", "readme.txt", "train.txt", "val.txt", "test.txt", "obj.names"}
_LINE = re.compile(r"\s*\d+(\s+[-+.\deE]+){4,}\s*")
_NUMBERS_OF_A_BOX = 4
_TRIED = 50
_NAMED = 3


def holds_yolo(folder: Path) -> bool:
    """Whether a folder has text files of boxes: in `labels` or `boxes` beside `images`, or beside the images
    themselves.
    """
    return bool(_pairs(folder)) or _beside(folder)


def read_yolo(folder: Path) -> Dataset:
    """The data set of a folder with YOLO's text files. Raises DataError, with file and line, for a line that is none of
    theirs.
    """
    findings = Findings()
    pairs = _pairs(folder)
    text_of = {
        path: _text_of(path, images, labels)
        for images, labels in pairs or [("", "")]
        for path in walk_files(folder, images, findings)
        if is_image(path)
    }
    paths = sorted(text_of)
    texts = [text_of[path] for path in paths]
    if not paths:
        raise DataError(f"{folder} holds no image beside its text files of boxes")
    class_names = yolo_class_names(folder)
    listed = list(map_in_order(lambda text: _read(folder / text, text), texts))
    found = [rows or [] for rows in listed]
    num_classes = 1 + max((number for rows in found for number, _ in rows), default=0)
    names = class_names or tuple(str(number) for number in range(min(num_classes, 10_000)))
    objects = gather(
        [[ListedObject(names[number] if number < len(names) else "", box) for number, box in rows] for rows in found],
        dict.fromkeys(names),
        are_fractions=True,
    )
    own_names, own_labels, boxes = largest_of(objects, len(paths))
    notices = list(findings.notices())
    lacking = [path for path, rows in zip(paths, listed, strict=True) if rows is None]
    if lacking:
        more = ", ..." if len(lacking) > _NAMED else ""
        notices.append(
            f"{len(lacking)} image{'s' * (len(lacking) > 1)} without a text file count as images without objects: "
            f"{', '.join(lacking[:_NAMED])}{more}"
        )
    if not class_names:
        notices.append(f"{folder} names no classes (data.yaml, classes.txt or classes.csv): they go by number")
    return Dataset(
        source=str(folder),
        kind="yolo",
        class_names=own_names or names[:1],
        images=FileImages(folder, paths),
        labels=own_labels,
        given_splits=splits_of_paths(paths),
        has_index_labels=not class_names,
        notices=tuple(notices),
        root=folder,
        boxes=boxes,
        objects=objects,
    )


def splits_of_paths(paths: Sequence[str]) -> np.ndarray:
    """The split that a folder of each path is called by: (N,) int8, NO_SPLIT where none is."""
    found = []
    for path in paths:
        splits = [split for part in path.split("/")[:-1] if (split := split_of(part)) is not None]
        found.append(SPLITS.index(splits[0]) if splits else NO_SPLIT)
    return np.array(found, np.int8)


def _pairs(folder: Path) -> list[tuple[str, str]]:
    """The folders of images with those of their text files, relative to this one: in itself, or in each folder below
    it.
    """
    found = []
    for place in ("", *(f"{entry.name}/" for entry in folders_in(folder))):
        if (folder / place / IMAGES).is_dir():
            named = (f"{place}{name}" for name in LABELS)
            labels = next((name for name in named if (folder / name).is_dir() and _has_boxes(folder / name)), None)
            found += [(f"{place}{IMAGES}", labels)] if labels else []
    return found


def _beside(folder: Path) -> bool:
    """Whether text files of boxes lie beside images of the same name, in the folder or one below."""
    for place in (folder, *(each for each in sorted(folder.iterdir()) if each.is_dir())):
        names = [entry.name for entry in os.scandir(place) if entry.is_file()]
        stems = {os.path.splitext(name)[0] for name in names if is_image(name)}
        texts = [name for name in names if name.endswith(".txt") and name[:-4] in stems]
        if any(_lines_of_boxes(place / name) for name in texts[:_TRIED]):
            return True
    return False


def _has_boxes(folder: Path) -> bool:
    """Whether one of the first text files below a folder begins with a line of a box, or all are empty."""
    paths = []
    for path in walk_files(folder, "", Findings()):
        if path.endswith(".txt") and os.path.basename(path).lower() not in _NOT_LABELS:
            paths.append(folder / path)
        if len(paths) == _TRIED:
            break
    found = [_lines_of_boxes(path) for path in paths]
    return any(found) or (bool(paths) and all(count is None for count in found))


def _lines_of_boxes(path: Path) -> int | None:
    """How many lines of the beginning of a file are boxes'; None where there is no line."""
    if not path.is_file():
        return None
    with open_file(path) as file:
        lines = file.read(4096).decode("utf-8", "replace").splitlines()
    whole = lines[:-1] if len(lines) > 1 else lines
    texts = [line for line in whole if line.strip()]
    return sum(_LINE.fullmatch(line) is not None for line in texts) if texts else None


def _text_of(path: str, images: str, labels: str) -> str:
    """The text file of an image: in the folder `labels` where the image lies in `images`."""
    return f"{labels}{os.path.splitext(path)[0].removeprefix(images)}.txt"


def _read(path: Path, name: str) -> list[tuple[int, tuple[float, float, float, float]]] | None:
    """(class number, box as fractions) of each line; None where there is no file."""
    if not path.is_file():
        return None
    rows = []
    for number, line in enumerate(
        read_regular_file(path, MAX_TEXT_BYTES).decode("utf-8-sig", "replace").splitlines(), 1
    ):
        fields = line.split()
        if not fields:
            continue
        try:
            box = _box(fields)
        except ValueError:
            raise DataError(
                f"{name}, line {number}: {line[:80]!r} should be a class number and four numbers: centre x, centre y, "
                "width, height"
            ) from None
        rows.append((int(fields[0][:9]), box))
    return rows


def _box(fields: list[str]) -> tuple[float, float, float, float]:
    """The box (x1, y1, x2, y2) of a line's fields, the class number first; ValueError where they are none."""
    numbers = [float(field) for field in fields[1:]]
    if (
        not fields[0].isdecimal()
        or len(numbers) < _NUMBERS_OF_A_BOX
        or (len(numbers) > _NUMBERS_OF_A_BOX + 1 and len(numbers) % 2)
    ):
        raise ValueError
    if len(numbers) > _NUMBERS_OF_A_BOX + 1:
        across, down = numbers[::2], numbers[1::2]
        return min(across), min(down), max(across), max(down)
    x, y, width, height = numbers[:_NUMBERS_OF_A_BOX]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
