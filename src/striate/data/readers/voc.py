"""A folder as Pascal VOC lays it out (Everingham et al. 2010, IJCV 88:303-338): `JPEGImages/`, `Annotations/NAME.xml`, and lists of
names for each split in `ImageSets/Main/{train,val,test}.txt`, where there are any.

An image's label and box are those of its largest object. Pixels are counted from 1 there and both borders belong to the box, so that
xmin 1, xmax 640 is the whole width of 640 pixels: here (0, 640).
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.files import read_regular_file
from striate.data.parallel import map_in_order
from striate.data.readers.access import FileImages, natural_order
from striate.errors import DataError
from striate.printable import excerpt

ANNOTATIONS, IMAGES, LISTS = "Annotations", "JPEGImages", "ImageSets/Main"
MAX_XML_BYTES = 10_000_000
_LIST_NAMES = {"train": "train", "val": "validation", "test": "test"}
_BORDERS = ("xmin", "ymin", "xmax", "ymax")
_NAMED = 3


@dataclass(frozen=True)
class VocObject:
    """One object of an image: its class, and its box (x1, y1, x2, y2), the whole image being (0, 0, W, H)."""

    name: str
    box: tuple[float, float, float, float]

    @property
    def area(self) -> float:
        """Square pixels; 0 or less where the box has no area."""
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        return width * height if width > 0 and height > 0 else 0.0


@dataclass(frozen=True)
class VocImage:
    """One annotation file: `stem` is its name without ".xml", `filename` what it calls its image."""

    stem: str
    filename: str
    objects: tuple[VocObject, ...]


def holds_voc(folder: Path) -> bool:
    """Whether a folder is laid out as Pascal VOC's."""
    return (folder / ANNOTATIONS).is_dir() and (folder / IMAGES).is_dir()


def read_voc(folder: Path) -> Dataset:
    """The data set of a VOC folder: every annotated image with the class and the box of its largest object.

    Images without an object with an area are left out, with a notice, as are those whose file is missing. Raises DataError for
    annotations that are no VOC XML, with the file.
    """
    files = sorted(
        path for path in (folder / ANNOTATIONS).iterdir() if path.suffix.lower() == ".xml" and path.name[0] != "."
    )
    if not files:
        raise DataError(f"{folder / ANNOTATIONS} holds no .xml file")
    annotated = list(map_in_order(read_annotation, files))
    found, lost, empty = [], [], []
    num_flat = sum(each.area <= 0 for image in annotated for each in image.objects)
    for image in annotated:
        path = _image_path(folder, image)
        largest = max(image.objects, key=lambda each: each.area, default=None)
        if path is None:
            lost.append(image.stem)
        elif largest is None or largest.area <= 0:
            empty.append(image.stem)
        else:
            found.append((image.stem, path, largest))
    if not found:
        raise DataError(f"{folder}: none of its {len(annotated)} annotations has both an image and an object")
    class_names = natural_order(sorted({largest.name for _, _, largest in found}))
    place_of = {name: place for place, name in enumerate(class_names)}
    splits, list_notices = _given_splits(folder, [stem for stem, _, _ in found])
    return Dataset(
        source=str(folder),
        kind="voc",
        class_names=tuple(class_names),
        images=FileImages(folder, [path for _, path, _ in found]),
        labels=np.array([place_of[largest.name] for _, _, largest in found], np.int64),
        given_splits=splits,
        notices=(*_notices(lost, empty, num_flat), *list_notices),
        root=folder,
        boxes=np.array([largest.box for _, _, largest in found], np.float64),
    )


def read_annotation(path: Path) -> VocImage:
    """What one annotation file says. DataError where it is no VOC XML, or could make a reader work without end."""
    try:
        data = read_regular_file(path, MAX_XML_BYTES)
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise DataError(
                f"{path} defines entities of its own, which annotations have no need of; take the DOCTYPE out"
            )
        root = ElementTree.fromstring(data)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is no XML: {error}") from error
    if root.tag != "annotation":
        raise DataError(f"{path} should hold an <annotation> but holds a <{excerpt(root.tag)}>")
    objects = tuple(_object(each, path, number) for number, each in enumerate(root.findall("object"), start=1))
    return VocImage(path.stem, (root.findtext("filename") or "").strip(), objects)


def _object(element: ElementTree.Element, path: Path, number: int) -> VocObject:
    name = (element.findtext("name") or "").strip()
    texts = [(element.findtext(f"bndbox/{border}") or "").strip() for border in _BORDERS]
    try:
        xmin, ymin, xmax, ymax = borders = [float(text) for text in texts]
    except ValueError:
        raise DataError(
            f"{path}, object {number}: its box has {excerpt(', '.join(map(repr, texts)))} where four numbers should be"
        ) from None
    if not name or not all(map(math.isfinite, borders)):
        raise DataError(f"{path}, object {number}: it has no {'finite box' if name else 'name'}")
    if xmax <= xmin or ymax <= ymin:  # no area as the file counts, though both borders belong to a box
        return VocObject(name, (xmin, ymin, xmin, ymin))
    return VocObject(name, (max(0.0, xmin - 1), max(0.0, ymin - 1), xmax, ymax))


def _image_path(folder: Path, image: VocImage) -> str | None:
    """The image's path below the folder, by its own name or by the annotation's; None where there is none."""
    name = os.path.basename(image.filename.replace("\\", "/"))
    for candidate in (name, f"{image.stem}.jpg", f"{image.stem}.jpeg", f"{image.stem}.png"):
        if candidate and os.path.isfile(
            folder / IMAGES / candidate
        ):  # unlike Path's also for a name too long to be one
            return f"{IMAGES}/{candidate}"
    return None


def _given_splits(folder: Path, stems: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The split of each image by the lists, (N,) int8, and a line where one is in several."""
    splits = np.full(len(stems), NO_SPLIT, np.int8)
    places = {stem: place for place, stem in enumerate(stems)}
    num_twice = 0
    for name, split in _LIST_NAMES.items():
        path = folder / LISTS / f"{name}.txt"
        if not path.is_file():
            continue
        for line in read_regular_file(path, MAX_XML_BYTES).decode("utf-8", "replace").splitlines():
            stem = line.split()[0] if line.split() else ""
            if (place := places.get(stem)) is not None:
                num_twice += splits[place] != NO_SPLIT
                splits[place] = SPLITS.index(split)
    notices = (f"{num_twice} images are in more than one list of {LISTS}: the last of train, val, test counts",)
    return splits, notices if num_twice else ()


def _notices(lost: list[str], empty: list[str], num_flat: int) -> list[str]:
    """Lines on what was left out."""
    notices = []
    for stems, what in ((lost, f"has no image in {IMAGES}"), (empty, "has no object with an area")):
        if stems:
            named = ", ".join(stems[:_NAMED]) + (", ..." if len(stems) > _NAMED else "")
            plural = what if len(stems) == 1 else what.replace("has", "have", 1)
            notices.append(f"left out {len(stems)} annotation{'s' * (len(stems) > 1)} that {plural}: {named}")
    if num_flat:
        notices.append(
            f"{num_flat} box{'es' * (num_flat > 1)} without an area {'are' if num_flat > 1 else 'is'} passed over"
        )
    return notices
