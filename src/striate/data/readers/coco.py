"""COCO's JSON of instances (Lin et al. 2014, arXiv:1405.0312): one file with `images`, `annotations` and `categories`,
or a folder with such files, one a split, in `annotations` or beside the images.

A box is (x, y, width, height) in pixels. Crowds (`iscrowd`) are regions left out. Masks, keypoints and captions are
left aside. Images are looked for beside the file, in `images`, and in folders named like its split (`train2017`).
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.files import open_file, read_regular_file
from striate.data.objects import ListedObject, gather, largest_of
from striate.data.readers.access import FileImages, printable
from striate.data.readers.split_names import split_of
from striate.errors import DataError

MAX_JSON_BYTES = 1 << 30
ANNOTATIONS = "annotations"
_KEYS = ("images", "annotations", "categories")
_BEGINNING = 1 << 16
_NAMED = 3


@dataclass(frozen=True)
class _Part:
    """One file: where it lies, its split, and what it holds."""

    path: Path
    split: int
    content: dict[str, list[dict[str, Any]]]


def holds_coco(folder: Path) -> bool:
    """Whether a folder has instances in COCO's form, in `annotations` or in itself."""
    return bool(_files(folder))


def is_coco(path: Path) -> bool:
    """Whether a JSON file begins as an object with COCO's lists, of which two are named at its beginning or its end."""
    try:
        if not path.is_file():
            return False
        with open_file(path) as file:
            beginning = file.read(_BEGINNING)
            file.seek(max(0, path.stat().st_size - _BEGINNING))
            text = (beginning + file.read(_BEGINNING)).decode("utf-8", "replace")
    except OSError:
        return False
    return text.lstrip().startswith("{") and sum(f'"{key}"' in text for key in _KEYS) > 1


def read_coco(path: Path) -> Dataset:
    """The data set of a JSON file, or of all those of a folder. DataError for what is no COCO JSON, with the file and
    the entry.
    """
    files = _files(path) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent.parent if path.parent.name == ANNOTATIONS else path.parent
    parts = [part for part in map(_read, files) if part is not None]
    if not parts:
        raise DataError(f"{path} has no annotations with boxes; captions and keypoints alone are no boxes")
    names = _category_names(parts)
    paths, per_image, splits, lost = [], [], [], []
    num_strangers = 0
    for part in parts:
        listed, num_unknown = _objects(part, names)
        num_strangers += num_unknown
        for number, image in enumerate(part.content["images"]):
            found = _image_path(root, part, image, number)
            if found is None:
                lost.append(str(image.get("file_name")))
                continue
            paths.append(found)
            per_image.append(listed.get(_key(image.get("id")), []))
            splits.append(part.split)
    if not paths:
        raise DataError(
            f"{path}: none of its {len(lost)} images is there, the first being {printable(lost[0]) if lost else 'none'}"
        )
    objects = gather(per_image, dict.fromkeys(names.values()))
    class_names, labels, boxes = largest_of(objects, len(paths))
    if not class_names:
        raise DataError(f"{path}: none of its {len(paths)} images has an object")
    return Dataset(
        source=str(path),
        kind="coco",
        class_names=class_names,
        images=FileImages(root, paths),
        labels=labels,
        given_splits=np.array(splits, np.int8) if len(set(splits)) > 1 else np.full(len(paths), NO_SPLIT, np.int8),
        notices=tuple(_notices(lost, num_strangers)),
        root=root,
        boxes=boxes,
        objects=objects,
    )


def _files(folder: Path) -> list[Path]:
    """Its files of instances: those called so in `annotations`, else every JSON in COCO's form there or in the folder
    or one below.
    """
    for place in (folder / ANNOTATIONS, folder):
        found = [path for path in sorted(place.glob("*.json")) if is_coco(path)] if place.is_dir() else []
        if found:
            return [path for path in found if path.name.startswith("instances")] or found
    below = (path for each in _folders(folder) for path in sorted(each.glob("*.json")))
    return [path for path in below if is_coco(path)]


def _folders(folder: Path) -> Iterator[Path]:
    return (each for each in sorted(folder.iterdir()) if each.is_dir())


def _read(path: Path) -> _Part | None:
    """A file's content; None where its annotations have no boxes."""
    try:
        content = json.loads(read_regular_file(path, MAX_JSON_BYTES))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON: {error}") from None
    if not isinstance(content, dict) or not all(_is_table(content.get(key)) for key in _KEYS):
        raise DataError(f"{path} should hold the lists {', '.join(_KEYS)}, each of objects")
    annotations = content["annotations"]
    if annotations and not any("bbox" in each for each in annotations):
        return None
    return _Part(path, _split(path), content)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _split(path: Path) -> int:
    """By the file's name, or its folder's."""
    stem = path.stem.removeprefix("instances").lstrip("_-.")
    split = split_of(stem) or split_of(path.parent.name)
    return NO_SPLIT if split is None else SPLITS.index(split)


def _category_names(parts: list[_Part]) -> dict[Any, str]:
    """Names by id, in the order of ids; DataError where two files disagree."""
    names: dict[Any, str] = {}
    for part in parts:
        for each in part.content["categories"]:
            key, name = _key(each.get("id")), each.get("name")
            if not isinstance(name, str) or not name or key is None:
                raise DataError(f"{part.path}: a category has no id or no name: {str(each)[:80]}")
            if names.setdefault(key, name) != name:
                raise DataError(f"{part.path}: category {key} is {name} here and {names[key]} in another file")
    return dict(sorted(names.items(), key=lambda item: (not isinstance(item[0], int), str(item[0]).zfill(12))))


def _key(value: Any) -> Any:
    """An id: a whole number or a text; None for anything else."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _objects(part: _Part, names: dict[Any, str]) -> tuple[dict[Any, list[ListedObject]], int]:
    """The objects by image id, and how many are of images that are not listed."""
    listed: dict[Any, list[ListedObject]] = {_key(image.get("id")): [] for image in part.content["images"]}
    num_strangers = 0
    for number, each in enumerate(part.content["annotations"], 1):
        if "bbox" not in each:
            continue
        box = each["bbox"]
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise DataError(
                f"{part.path}, annotation {number}: its bbox is {str(box)[:80]} where four numbers should be"
            )
        x, y, width, height = map(_finite, box)
        own = listed.get(_key(each.get("image_id")))
        if own is None:
            num_strangers += 1
            continue
        name = names.get(_key(each.get("category_id")), "")
        own.append(ListedObject(name, (x, y, x + width, y + height), bool(each.get("iscrowd"))))
    return listed, num_strangers


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: float) -> float:
    """The number, NaN for one that is not finite or, as a whole number may be, too large for a float."""
    try:
        return float(value) if math.isfinite(value) else math.nan
    except OverflowError:
        return math.nan


def _image_path(root: Path, part: _Part, image: dict[str, Any], number: int) -> str | None:
    """The image's path below the root; None where there is no such file. DataError for a name that leads out."""
    name = image.get("file_name")
    if not isinstance(name, str) or not name or "\0" in name:
        raise DataError(f"{part.path}, image {number + 1}: it has no file_name")
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise DataError(f"{part.path}, image {number + 1}: {printable(name)} leads out of the folder")
    split_folder = part.path.stem.removeprefix("instances").lstrip("_-.")
    folders = (part.path.parent, root, root / "images", root / split_folder, root / "images" / split_folder)
    for folder in folders:
        if os.path.isfile(folder / name):  # unlike Path's also for a name that no file can have
            return os.path.relpath(folder / name, root)
    return None


def _notices(lost: list[str], num_strangers: int) -> list[str]:
    notices = []
    if lost:
        more = ", ..." if len(lost) > _NAMED else ""
        names = ", ".join(printable(name) for name in lost[:_NAMED])
        notices.append(
            f"left out {len(lost)} listed image{'s' * (len(lost) > 1)} whose file is not there: {names}{more}"
        )
    if num_strangers:
        notices.append(f"left out {num_strangers} annotation{'s' * (num_strangers > 1)} of images that are not listed")
    return notices
