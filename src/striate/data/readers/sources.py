"""From the name or path of a source to a scanned data set, recognised by what it holds."""

import dataclasses
import difflib
import itertools
import os
from pathlib import Path

from striate.data.cache import cache_dir
from striate.data.dataset import Dataset
from striate.data.files import open_file
from striate.data.readers.cifar import holds_cifar, read_cifar_folder
from striate.data.readers.class_spelling import spelling_notices
from striate.data.readers.coco import holds_coco, is_coco, read_coco
from striate.data.readers.columns import Columns
from striate.data.readers.digits import read_digits
from striate.data.readers.folder import num_class_folders, read_folder
from striate.data.readers.folder_walk import folders_in
from striate.data.readers.idx import holds_idx, read_idx_folder
from striate.data.readers.kitti import holds_kitti, read_kitti
from striate.data.readers.mask_folder import holds_masks, read_mask_folder
from striate.data.readers.npz import read_npz
from striate.data.readers.shard_reader import holds_shards, read_shards
from striate.data.readers.split_names import splits_of
from striate.data.readers.standard import STANDARD_SETS, StandardSet, fetch
from striate.data.readers.table import NO_COLUMNS, is_table, read_table
from striate.data.readers.voc import holds_voc, read_voc
from striate.data.readers.yolo import holds_yolo, read_yolo
from striate.data.shards import is_text
from striate.errors import DataError, InputError
from striate.progress import Log, Track, log_nothing, track_silently
from striate.registry import Registry

DIGITS = "digits"
MASKS_TASK = "segmentation"
"""The task that wants the masks of a folder that has other annotations too."""
_MOST_NEIGHBOURS, _MOST_LOOKED_INTO = 10_000, 200


def open_source(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    download: bool = False,
    log: Log = log_nothing,
    track: Track = track_silently,
    standard_sets: Registry[StandardSet] = STANDARD_SETS,
    columns: Columns = NO_COLUMNS,
    task: str | None = None,
    ignore_index: int | None = None,
) -> Dataset:
    """The data set that a path or the name of a standard set stands for; a path that exists comes before a name.

    Names: "digits" (built in), mnist, fashion-mnist, cifar10, cifar100. These are looked for in `data_dir` (its
    folder of that name, the folders that torchvision uses, then itself) and in striate's cache; only with `download`
    are they fetched into the cache, with a line to `tell` and their length and checksum verified. Paths: a folder of
    IDX files, of CIFAR's binary files, of shards, with masks beside images, with a subfolder for each class, or with
    `labels.csv`; an `.npz` file; a CSV
    file, whose `columns` can be named; which was read as what goes to `log`. Where a folder has annotations of several
    kinds, those that `task` wants are read; `ignore_index` is a value of masks that counts for nothing. Raises
    DataError when there is no such source or it cannot serve.

    `standard_sets` are the sets known by name.
    """
    if not str(source):
        raise DataError("no source of images is named; give a file, a folder or the name of a data set")
    path = Path(os.path.expanduser(source))
    if os.path.exists(path):  # unlike Path.exists, also for a name too long to be one
        dataset = open_path(path, columns, task=task, ignore_index=ignore_index)
        if dataset.columns is not None:
            log(dataset.columns)
        return dataset
    _refuse_columns(columns, str(source))
    if source == DIGITS:
        return read_digits()
    if isinstance(source, str) and source in standard_sets:
        data_dir = Path(data_dir) if data_dir else None
        return _open_standard(standard_sets[source], data_dir, download=download, log=log, track=track)
    if "://" in str(source):
        raise DataError(f"{source} is a URL, and striate fetches none; fetch and unpack it, and name the folder")
    if beside := _similar_beside(path):
        raise DataError(f"there is no file or folder {source}; did you mean {beside}")
    names = [DIGITS, *standard_sets]
    near = difflib.get_close_matches(str(source).lower(), names, n=3, cutoff=0.6)
    hint = f"did you mean {', '.join(near)}?" if near else f"the data sets known by name are {', '.join(names)}"
    raise DataError(f"there is no file or folder {source}; {hint}")


def _similar_beside(path: Path) -> str:
    """A question naming a file or folder beside a missing one whose name is nearly the same, or a folder of classes of
    the very name one folder deeper; empty where there is none.
    """
    try:
        names = [entry.name for entry in itertools.islice(os.scandir(path.parent), _MOST_NEIGHBOURS)]
    except (OSError, ValueError):
        return ""
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.7)
    inner = (path.with_name(name) / path.name for name in sorted(names)[:_MOST_LOOKED_INTO])
    if near:
        return f"{path.with_name(near[0])}?{_what_it_holds(path.with_name(near[0]))}"
    return next((f"{each}?{held}" for each in inner if (held := _what_it_holds(each))), "")


def _what_it_holds(path: Path) -> str:
    """A clause on a folder of class folders, or of splits; empty for anything else."""
    try:
        if not os.path.isdir(path):
            return ""
        names = [entry.name for entry in folders_in(path)]
        if splits := splits_of(names):
            return f" it holds {', '.join(splits)}"
        num_classes = num_class_folders(path)
    except DataError:
        return ""
    return f" it holds {num_classes} class folders" if num_classes > 1 else ""


def open_path(
    path: Path, columns: Columns = NO_COLUMNS, *, task: str | None = None, ignore_index: int | None = None
) -> Dataset:
    """The data set in a file or folder. Raises DataError when its content is none that striate reads."""
    try:
        dataset = _open_folder(path, columns, task, ignore_index) if path.is_dir() else _open_file(path, columns)
    except PermissionError as error:
        raise DataError(f"{error.filename or path} may not be read: {error.strerror}") from error
    except OSError as error:  # such as a name that is too long, a disk that fails, a pipe in a file's place
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise DataError(f"{path} needs more memory than there is") from None
    if not all(is_text(name) for name in dataset.class_names):
        raise DataError(f"{path} has a class whose name is no text that can be written; give it another")
    if ignore_index is not None and dataset.masks is None:
        raise InputError(f"--ignore-index is a value of masks, and {path} has none; leave it out")
    if ignore_index is not None and not 0 <= ignore_index < 1 << 31:
        raise InputError(f"--ignore-index is a value of masks, from 0 to {(1 << 31) - 1}, but is {ignore_index}")
    spelling = spelling_notices(dataset.class_names, dataset.labels)
    return dataclasses.replace(dataset, notices=(*dataset.notices, *spelling)) if spelling else dataset


def _refuse_columns(columns: Columns, source: str) -> None:
    if columns:
        raise InputError(
            f"--path-column, --label-column, --split-column and --root are for CSV files, and {source} is none; leave "
            "them out"
        )


def _open_folder(folder: Path, columns: Columns, task: str | None, ignore_index: int | None) -> Dataset:
    labels = folder / "labels.csv"
    if columns and labels.is_file():
        return dataclasses.replace(read_table(labels, columns), source=str(folder))
    _refuse_columns(columns, str(folder))
    if task == MASKS_TASK and holds_masks(folder):
        return read_mask_folder(folder, ignore_index=ignore_index)
    if holds_idx(folder):
        return read_idx_folder(folder)
    if holds_shards(folder):
        return read_shards(folder)
    if holds_cifar(folder):
        return read_cifar_folder(folder)
    if holds_voc(folder):
        return read_voc(folder)
    if holds_kitti(folder):
        return read_kitti(folder)
    if holds_coco(folder):
        return read_coco(folder)
    if holds_yolo(folder):
        return read_yolo(folder)
    if labels.is_file() and num_class_folders(folder) < 2:  # one folder of images is where they lie, not what they are
        return dataclasses.replace(read_table(labels), source=str(folder))
    if holds_masks(folder):
        return read_mask_folder(folder, ignore_index=ignore_index)
    return read_folder(folder)


def _open_file(path: Path, columns: Columns) -> Dataset:
    with open_file(path) as file:
        beginning = file.read(4)
    if beginning[:2] == b"PK":
        _refuse_columns(columns, str(path))
        return read_npz(path)
    if path.suffix.lower() == ".json" and is_coco(path):
        _refuse_columns(columns, str(path))
        return read_coco(path)
    if path.suffix.lower() in (".csv", ".tsv", ".txt") or columns:
        return read_table(path, columns)
    if holds_idx(path.parent) or holds_cifar(path.parent):
        raise DataError(f"{path} is one file of several that belong together; name their folder, {path.parent}")
    if is_table(path):
        return read_table(path)
    raise DataError(
        f"{path} is no source of images; name a folder with a subfolder for each class, a CSV file, an .npz file, "
        "or a folder of IDX or CIFAR binary files"
    )


def _open_standard(
    standard_set: StandardSet, data_dir: Path | None, *, download: bool, log: Log, track: Track
) -> Dataset:
    """The named set from the first folder that holds it, which is told."""
    cached = cache_dir() / standard_set.name
    folders = []
    if data_dir is not None:
        folders = [data_dir / folder for folder in standard_set.folders] + [data_dir]
    if download and not any(standard_set.holds(folder) for folder in folders):
        fetch(standard_set, cached, log=log, track=track)
    folders.append(cached)
    for folder in folders:
        if standard_set.holds(folder):
            log(f"reading {standard_set.name} from {folder}")
            return dataclasses.replace(standard_set.read(folder), source=standard_set.name)
    searched = cached if data_dir is None else f"{data_dir} or {cached}"
    size_bytes = sum(file.size_bytes for file in standard_set.downloads)
    raise DataError(
        f"{standard_set.name} is not in {searched}; name its folder with --data-dir, "
        f"or fetch it ({size_bytes / 1e6:.0f} MB) with --download"
    )
