"""A data set in folders: one below the source for each class, possibly below folders for the splits.

Images are the files, at any depth below a class folder, whose ending striate can read, whatever its case. Other files
are passed over with a notice, hidden ones (their name begins with a dot) without. Links are followed.
"""

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.decoding import image_suffixes
from striate.data.readers.access import FileImages, natural_order, printable
from striate.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What people call the splits, in lower case, and what striate calls them."""
RUN_FILE = "run.json"
"""The file that makes a folder a run."""


@dataclass
class _Scan:
    """What has been found so far; paths are relative to the source."""

    paths: list[str] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def read_folder(root: Path) -> Dataset:
    """The data set in a folder with a subfolder for each class, or with such folders below train, val and test.

    Classes are the union over the splits, by name, in code-point order (by value where all names are whole numbers).
    Raises DataError when there are no class folders or no images.
    """
    scan = _Scan()
    split_folders = _split_folders(root)
    if split_folders:
        for folder in split_folders:
            _scan_classes(root, folder.name, SPLITS.index(SPLIT_NAMES[folder.name.lower()]), scan)
        taken = {folder.name for folder in split_folders}
        if others := [entry.name for entry in _entries(root) if entry.name not in taken]:
            scan.notices.append(f"passed over beside the folders of the splits: {_listed(others)}")
    else:
        _scan_classes(root, "", NO_SPLIT, scan)
    if not scan.paths:
        raise DataError(_why_no_images(root))
    if scan.empty:
        scan.notices.append(f"folders without images, not taken for classes: {_listed(scan.empty)}")
    if scan.passed_over:
        scan.notices.append(f"passed over, not images by their ending: {_listed(scan.passed_over)}")
    names = natural_order(sorted(set(scan.class_names)))
    places = {name: place for place, name in enumerate(names)}
    return Dataset(
        source=str(root),
        kind="folder",
        class_names=tuple(names),
        images=FileImages(root, scan.paths),
        labels=np.array([places[name] for name in scan.class_names], dtype=np.int64),
        given_splits=np.array(scan.splits, dtype=np.int8),
        notices=tuple(scan.notices),
        root=root,
    )


def num_class_folders(root: Path) -> int:
    """How many subfolders have an image somewhere below them."""
    return sum(any(_is_image(path) for path in _files(root, entry.name)) for entry in _folders(root))


def _split_folders(root: Path) -> list[os.DirEntry[str]]:
    """The subfolders that are splits. A `train` that holds images and no folders, beside `tram`, is a class."""
    named = [entry for entry in _folders(root) if entry.name.lower() in SPLIT_NAMES]
    holding_classes = [entry for entry in named if _folders(Path(entry.path))]
    has_train = any(SPLIT_NAMES[entry.name.lower()] == "train" for entry in holding_classes)
    only_splits = len(named) == len(_folders(root))
    return named if holding_classes and (has_train or only_splits) else []


def _scan_classes(root: Path, below: str, split: int, scan: _Scan) -> None:
    """Add the class folders directly below `root / below` to what has been found."""
    where = root / below
    for entry in _folders(where):
        name = unicodedata.normalize("NFC", printable(entry.name))  # macOS and Linux store accents differently
        found = list(_files(root, f"{below}/{entry.name}" if below else entry.name))
        images = [path for path in found if _is_image(path)]
        scan.paths += images
        scan.class_names += [name] * len(images)
        scan.splits += [split] * len(images)
        scan.passed_over += [path for path in found if not _is_image(path)]
        if not images:
            scan.empty.append(f"{below}/{entry.name}" if below else entry.name)
    loose = [entry.name for entry in _entries(where) if entry.is_file()]
    scan.passed_over += [name for name in loose if not _is_image(name)]
    if loose_images := [name for name in loose if _is_image(name)]:
        scan.notices.append(f"passed over in {where}, not in the folder of a class: {_listed(loose_images)}")


def _why_no_images(root: Path) -> str:
    entries = _entries(root)
    if any(entry.is_file() and _is_image(entry.name) for entry in entries):
        return f"{root} holds images but no folders of classes; put the images of each class into a folder of its own"
    if not entries:
        return f"{root} is empty; it should hold a folder for each class with its images"
    return f"{root} holds no images; it should hold a folder for each class with its images"


def _files(root: Path, below: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """The visible files at any depth below `root / below`, relative to root; circles of links end at `above`.

    What a run of striate wrote, such as the pictures of its mistakes, is passed over. Links that lead nowhere and pipes
    count as files, so that reading names them.
    """
    here = os.path.realpath(root / below)
    if here in above or os.path.isfile(os.path.join(here, RUN_FILE)):
        return
    for entry in _entries(root / below):
        path = f"{below}/{entry.name}"
        if entry.is_dir():
            yield from _files(root, path, above | {here})
        else:
            yield path


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name, without what is hidden."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in image_suffixes()


def _listed(names: list[str]) -> str:
    """How many, and the first few: "4 (a.txt, b.txt, c.txt, ...)"."""
    shown = ", ".join(printable(name) for name in names[:3])
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} ({shown}{more})"
