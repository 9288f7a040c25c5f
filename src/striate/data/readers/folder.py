"""A data set in folders: one below the source for each class, possibly below folders for the splits.

Images are the files, at any depth below a class folder, whose ending striate can read, whatever its case. Other files
are passed over with a notice. A folder that holds nothing but one other folder is a wrapper: what counts lies in that.
"""

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.readers.access import FileImages, class_name_of, natural_order, printable
from striate.data.readers.folder_walk import (
    Findings,
    by_ending,
    entries_in,
    folders_in,
    is_folder,
    is_image,
    joined,
    listed,
    walk_files,
)
from striate.data.readers.nested_classes import check_no_hidden_splits, inner_folders, notice_of_nesting
from striate.data.readers.split_names import SPLIT_WORDS, splits_of
from striate.errors import DataError


@dataclass
class _Scan:
    """Findings so far; paths are relative to the source."""

    findings: Findings = field(default_factory=Findings)
    paths: list[str] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    splits: list[int] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    images_of: dict[str, list[str]] = field(default_factory=dict)


def read_folder(root: Path) -> Dataset:
    """The data set in a folder with a subfolder for each class, or with such folders below train, val and test.

    Split folders go by their usual names in any case (Train, training_set, seg_test, val_images, ...); wrapper folders
    above and below them are stepped through. Classes are the union over the splits, by name, in code-point order (by
    value where all names are whole numbers). Raises DataError when there are no class folders or no images, and where
    folders side by side hold the same subfolders, so that either could be the classes.
    """
    scan = _Scan()
    start = _through_wrappers(root, "", scan)
    split_folders = _split_folders(root, start)
    if split_folders:
        names = [joined(start, name) for name in split_folders]
        for name, split in split_folders.items():
            below = _through_split_wrappers(root, joined(start, name), names)
            if below != joined(start, name):
                scan.notices.append(f"the classes of {joined(start, name)} are the folders in {below}")
            _scan_classes(root, below, SPLITS.index(split), scan)
        unusual = {name: split for name, split in split_folders.items() if name.lower() not in SPLIT_WORDS}
        taken = ", ".join(f"{name} for {split}" for name, split in unusual.items())
        if taken:
            scan.notices.append(f"folders taken for splits: {taken}")
        if others := [entry.name for entry in entries_in(root / start) if entry.name not in split_folders]:
            scan.notices.append(f"passed over beside the folders of the splits: {listed(others)}")
    else:
        _scan_classes(root, start, NO_SPLIT, scan)
    if not scan.paths:
        raise DataError(_why_no_images(root, scan))
    _refuse_folder_above(root, scan)
    scan.notices += notice_of_nesting(scan.images_of)
    if scan.empty:
        scan.notices.append(f"folders without images, not taken for classes: {listed(scan.empty)}")
    if scan.passed_over:
        scan.notices.append(f"passed over, not images by their ending: {by_ending(scan.passed_over)}")
    names = natural_order(sorted(set(scan.class_names)))
    places = {name: place for place, name in enumerate(names)}
    return Dataset(
        source=str(root),
        kind="folder",
        class_names=tuple(names),
        images=FileImages(root, scan.paths),
        labels=np.array([places[name] for name in scan.class_names], dtype=np.int64),
        given_splits=np.array(scan.splits, dtype=np.int8),
        notices=(*scan.notices, *scan.findings.notices()),
        root=root,
    )


def num_class_folders(root: Path) -> int:
    """Number of subfolders with an image somewhere below them."""
    findings = Findings()
    return sum(any(is_image(path) for path in walk_files(root, entry.name, findings)) for entry in folders_in(root))


def _split_folders(root: Path, start: str) -> dict[str, str]:
    """The split of each subfolder that is one. A `train` that holds images and no folders, beside `tram`, is a
    class.
    """
    folders = folders_in(root / start)
    named = splits_of(entry.name for entry in folders)
    holding_classes = [entry.name for entry in folders if entry.name in named and _holds_folders(Path(entry.path))]
    has_train = any(named[name] == "train" for name in holding_classes)
    only_splits = len(named) == len(folders)
    return {name: named[name] for name in sorted(named)} if holding_classes and (has_train or only_splits) else {}


def _holds_folders(folder: Path) -> bool:
    """Whether it can be seen to hold folders."""
    try:
        return bool(folders_in(folder))
    except DataError:
        return False


def _through_wrappers(root: Path, below: str, scan: _Scan) -> str:
    """Where the folders of classes or splits lie: `below`, or in the only folder in it, as an unpacked archive often
    has it.
    """
    here, seen = below, {os.path.realpath(root / below)}
    while not _split_folders(root, here) and (inner := _only_folder(root / here)) is not None:
        here = joined(here, inner)
        there = os.path.realpath(root / here)
        if there in seen:
            break
        seen.add(there)
        if _split_folders(root, here) or _num_folders(root / here) > 1:
            below = here
    if below:
        scan.notices.append(f"the classes are taken from {below}, the only folder there")
    return below


def _through_split_wrappers(root: Path, below: str, splits: list[str]) -> str:
    """The same within the folder of a split, whose only folder is a class where another split has it beside others."""
    beside = {
        entry.name
        for other in splits
        if other != below and _holds_folders(root / other)
        for entry in folders_in(root / other)
        if len(folders_in(root / other)) > 1
    }
    seen = {os.path.realpath(root / below)}
    while (inner := _only_folder(root / below)) is not None and inner not in beside:
        deeper = joined(below, inner)
        there = os.path.realpath(root / deeper)
        if there in seen or not _num_folders(root / deeper) or _has_images(root / deeper):
            break
        seen.add(there)
        below = deeper
    return below


def _only_folder(folder: Path) -> str | None:
    """The name of the one folder in a folder, where no images lie beside it."""
    try:
        folders = folders_in(folder)
    except DataError:
        return None
    return folders[0].name if len(folders) == 1 and not _has_images(folder) else None


def _num_folders(folder: Path) -> int:
    try:
        return len(folders_in(folder))
    except DataError:
        return 0


def _has_images(folder: Path) -> bool:
    """Whether images lie in this very folder."""
    try:
        return any(not is_folder(entry) and is_image(entry.name) for entry in entries_in(folder))
    except DataError:
        return False


def _scan_classes(root: Path, below: str, split: int, scan: _Scan) -> None:
    """Add the class folders directly below `root / below` to what has been found."""
    where = root / below
    try:
        entries = entries_in(where, scan.findings, below)
    except DataError:
        if not below:
            raise
        scan.findings.unreadable.append(below)
        return
    folders = [entry for entry in entries if is_folder(entry)]
    for entry in folders:
        folder = joined(below, entry.name)
        name = unicodedata.normalize("NFC", class_name_of(entry.name))  # macOS and Linux store accents differently
        found = list(walk_files(root, folder, scan.findings))
        images = [path for path in found if is_image(path)]
        scan.paths += images
        scan.class_names += [name] * len(images)
        scan.splits += [split] * len(images)
        scan.passed_over += [path for path in found if not is_image(path)]
        scan.images_of[folder] = images
        if not images:
            scan.empty.append(folder)
    check_no_hidden_splits(
        where, {joined(below, each.name): scan.images_of[joined(below, each.name)] for each in folders}
    )
    loose = [entry for entry in entries if not is_folder(entry)]
    dangling = [entry.name for entry in loose if entry.is_symlink() and not os.path.exists(entry.path)]
    scan.findings.dangling += [joined(below, name) for name in dangling]
    names = [entry.name for entry in loose if entry.name not in dangling]
    scan.passed_over += [name for name in names if not is_image(name)]
    if loose_images := [name for name in names if is_image(name)]:
        scan.notices.append(f"passed over in {where}, not in the folder of a class: {listed(loose_images)}")


def _refuse_folder_above(root: Path, scan: _Scan) -> None:
    """Raise DataError where the only class is a folder whose images all lie in several folders below it: those are the
    classes.
    """
    with_images = [folder for folder, images in scan.images_of.items() if images]
    if len(set(scan.class_names)) != 1 or len(with_images) != 1:
        return
    inner = inner_folders(with_images[0], scan.images_of[with_images[0]])
    if len(inner) > 1:
        raise DataError(
            f"{root} holds images in one folder alone, {printable(with_images[0])}; did you mean "
            f"{root / with_images[0]}? it holds {len(inner)} class folders"
        )


def _why_no_images(root: Path, scan: _Scan) -> str:
    entries, findings = entries_in(root), scan.findings
    if any(not is_folder(entry) and is_image(entry.name) for entry in entries):
        return f"{root} holds images but no folders of classes; put the images of each class into a folder of its own"
    passed_over = [f"passed over by their ending: {by_ending(scan.passed_over)}"] if scan.passed_over else []
    found = "; ".join([*findings.notices(), *passed_over])
    if not entries and not found:
        return f"{root} is empty; it should hold a folder for each class with its images"
    because = f" ({found})" if found else ""
    return f"{root} holds no images{because}; it should hold a folder for each class with its images"
