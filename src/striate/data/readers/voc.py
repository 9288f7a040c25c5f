"""A folder as Pascal VOC lays it out (Everingham et al. 2010, IJCV 88:303-338): `JPEGImages/`, `Annotations/NAME.xml`,
and lists of names for each split in `ImageSets/Main/{train,val,test}.txt`, where there are any.

An image's label and box are those of its largest object; all of them are its objects.
Pixels are counted from 1 there and both borders belong to the box, so that
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
from striate.data.objects import ListedObject, gather, largest_of
from striate.data.parallel import map_in_order
from striate.data.readers.access import FileImages
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
    is_difficult: bool = False

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
    """The data set of a VOC folder: every annotated image with its objects, and the class and the box of its largest
    one.

    Images whose file is missing are left out, with a notice. Raises DataError for annotations that are no VOC XML, with
    the file.
    """
    files = sorted(
        path for path in (folder / ANNOTATIONS).iterdir() if path.suffix.lower() == ".xml" and path.name[0] != "."
    )
    if not files:
        raise DataError(f"{folder / ANNOTATIONS} holds no .xml file")
    annotated = list(map_in_order(read_annotation, files))
    located = [(image, _image_path(folder, image)) for image in annotated]
    found = [(image, path) for image, path in located if path is not None]
    lost = [image.stem for image, path in located if path is None]
    if not any(each.area > 0 for image, _ in found for each in image.objects):
        raise DataError(f"{folder}: none of its {len(annotated)} annotations has both an image and an object")
    objects = gather(
        [[ListedObject(each.name, each.box, each.is_difficult) for each in image.objects] for image, _ in found]
    )
    class_names, labels, boxes = largest_of(objects, len(found))
    splits, list_notices = _given_splits(folder, [image.stem for image, _ in found])
    return Dataset(
        source=str(folder),
        kind="voc",
        class_names=class_names,
        images=FileImages(folder, [path for _, path in found]),
        labels=labels,
        given_splits=splits,
        notices=(*_notices(lost), *list_notices),
        root=folder,
        boxes=boxes,
        objects=objects,
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
    is_difficult = (element.findtext("difficult") or "").strip() == "1"
    if max(borders) <= 1 and min(borders) >= 0:  # fractions, which is told when the image's size is known
        return VocObject(name, (xmin, ymin, xmax, ymax), is_difficult)
    if xmax == xmin or ymax == ymin:  # no area as the file counts, though both borders belong to a box
        return VocObject(name, (xmin, ymin, xmin, ymin), is_difficult)
    left, right = (xmin - 1, xmax) if xmax > xmin else (xmin, xmax - 1)
    top, bottom = (ymin - 1, ymax) if ymax > ymin else (ymin, ymax - 1)
    return VocObject(name, (left, top, right, bottom), is_difficult)


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


def _notices(lost: list[str]) -> list[str]:
    """A line on what was left out."""
    if not lost:
        return []
    named = ", ".join(lost[:_NAMED]) + (", ..." if len(lost) > _NAMED else "")
    has = "has" if len(lost) == 1 else "have"
    return [f"left out {len(lost)} annotation{'s' * (len(lost) > 1)} that {has} no image in {IMAGES}: {named}"]
