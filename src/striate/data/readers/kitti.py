"""KITTI's object benchmark (Geiger et al. 2012): `image_2/*.png` and `label_2/*.txt` of the same names, a line an
object: type, truncated, occluded, alpha, left, top, right, bottom in pixels, and eight numbers in space, which are left
aside.

What is called DontCare is a region left out for every class.
"""

from pathlib import Path

import numpy as np

from striate.data.dataset import NO_SPLIT, Dataset
from striate.data.files import read_regular_file
from striate.data.objects import ListedObject, gather, largest_of
from striate.data.parallel import map_in_order
from striate.data.readers.access import FileImages
from striate.data.readers.folder_walk import is_image
from striate.errors import DataError

IMAGES, LABELS = "image_2", "label_2"
DONT_CARE = "DontCare"
MAX_TEXT_BYTES = 10_000_000
_LEAST_FIELDS = 8


def holds_kitti(folder: Path) -> bool:
    """Whether a folder, or its folder `training`, is laid out as KITTI's."""
    return _place(folder) is not None


def read_kitti(folder: Path) -> Dataset:
    """The data set of a KITTI folder; images without a label file are left out. DataError with file and line for what
    is no label.
    """
    below = _place(folder)
    assert below is not None
    prefix = f"{below}/" if below else ""
    names = sorted(path.name for path in (folder / below / IMAGES).iterdir() if is_image(path.name))
    labelled = [name for name in names if (folder / below / LABELS / f"{Path(name).stem}.txt").is_file()]
    if not labelled:
        raise DataError(f"{folder / below / IMAGES} holds no image with a label in {LABELS}")
    paths = [f"{prefix}{IMAGES}/{name}" for name in labelled]
    listed = list(map_in_order(lambda name: _read(folder, f"{prefix}{LABELS}/{Path(name).stem}.txt"), labelled))
    objects = gather(listed)
    class_names, labels, boxes = largest_of(objects, len(paths))
    if not class_names:
        raise DataError(f"{folder}: none of its {len(paths)} images has an object")
    num_without = len(names) - len(labelled)
    return Dataset(
        source=str(folder),
        kind="kitti",
        class_names=class_names,
        images=FileImages(folder, paths),
        labels=labels,
        given_splits=np.full(len(paths), NO_SPLIT, np.int8),
        notices=(f"left out {num_without} images without a file in {LABELS}",) if num_without else (),
        root=folder,
        boxes=boxes,
        objects=objects,
    )


def _place(folder: Path) -> str | None:
    """Where below the folder the two lie."""
    return next(
        (b for b in ("", "training") if (folder / b / IMAGES).is_dir() and (folder / b / LABELS).is_dir()), None
    )


def _read(folder: Path, name: str) -> list[ListedObject]:
    listed = []
    lines = read_regular_file(folder / name, MAX_TEXT_BYTES).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        try:
            if len(fields) < _LEAST_FIELDS:
                raise ValueError
            left, top, right, bottom = (float(field) for field in fields[4:8])
        except ValueError:
            raise DataError(
                f"{name}, line {number}: {line[:80]!r} should be a type and at least seven numbers, the box the "
                "fourth to seventh of them"
            ) from None
        is_region = fields[0] == DONT_CARE
        listed.append(ListedObject(None if is_region else fields[0], (left, top, right, bottom), is_region))
    return listed
