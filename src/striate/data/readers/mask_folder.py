"""Images with a mask each: a folder of masks beside the images, as people keep them.

Known are `images/` beside `masks/` or `labels/` (and their like), each with folders for the splits below it or without;
the same two below folders for the splits; `train/` beside `trainannot/`, `train_labels/` or `train_masks/`; and Pascal
VOC's `JPEGImages/` beside `SegmentationClass/`, with its lists in `ImageSets/Segmentation`. A mask has its image's
name, another ending, and perhaps a word such as `_mask` or `_L` behind the name.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.decoding import image_facts, stored_orientation
from striate.data.files import read_regular_file
from striate.data.masks import Kind, MaskCodes, Masks, mask_facts, mask_values
from striate.data.parallel import map_in_order
from striate.data.readers.access import FileImages
from striate.data.readers.folder_walk import Findings, folders_in, is_image, joined, listed, walk_files
from striate.data.readers.mask_classes import codes_of_list, codes_of_values, read_class_list, voc_list
from striate.data.readers.split_names import splits_of
from striate.errors import DataError, InputError

IMAGE_WORDS = frozenset(
    {
        "images",
        "image",
        "imgs",
        "img",
        "jpegimages",
        "photos",
        "pictures",
        "inputs",
        "input",
        "frames",
        "rgb",
        "leftimgbit",
    }
)
MASK_WORDS = (
    "masks", "mask", "segmentationclass", "semantic", "segmentation", "segmentations", "labels", "label",
    "annotations", "annotation",
    "targets", "target", "gt", "groundtruth", "gtfine",
)  # fmt: skip
"""Names of folders, letters only and in lower case; of masks the first that holds any counts."""
_MASK_ENDS = re.compile(
    r"[_\-. ]?(?:gtfine[_-])?(?:label(?:s|ids|trainids)?|masks?|segmentation|seg|gt|ground[_-]?truth"
    r"|annot(?:ation)?s?|[LP])$",
    re.IGNORECASE,
)
_IMAGE_ENDS = re.compile(r"[_\-. ](?:leftimg8bit|image|img|rgb|sat)$", re.IGNORECASE)
_BESIDE = re.compile(r"[_\-]?(?:annot(?:ation)?s?|labels?|masks?|gt)$", re.IGNORECASE)
VOC_LISTS = "ImageSets/Segmentation"
_MAX_LIST_BYTES = 10_000_000
_FEW, _MOST_LOOKED_AT = 8, 400
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True)
class _Place:
    """A folder of images and that of their masks, relative to the source, and the split they stand for."""

    images: str
    masks: str
    split: int = NO_SPLIT


@dataclass(frozen=True)
class _Pair:
    """An image and its mask, paths relative to the source."""

    image: str
    mask: str
    split: int


@dataclass(frozen=True)
class _Found:
    """What a place holds: images with masks, images without, and images that share their name with one that has a
    mask.
    """

    pairs: list[_Pair]
    without: list[str]
    doubled: list[str]


@dataclass(frozen=True)
class _Fit:
    """The (height, width) of an image as it is shown, and by which EXIF orientation its mask is turned; or why they do
    not fit.
    """

    size: tuple[int, int] = (0, 0)
    turn: int = 1
    problem: str = ""


def holds_masks(folder: Path) -> bool:
    """Whether a folder has images with masks beside them."""
    return any(_pairs(folder, place, Findings()).pairs for place in _places(folder))


def read_mask_folder(folder: Path, *, ignore_index: int | None = None) -> Dataset:
    """The data set of a folder with masks; its classes are those of pixels, and `labels` are all 0.

    Left out, with a notice: images without a mask, masks of another size, and masks that cannot be read. `ignore_index`
    is a value that counts for nothing, beside those that a list of classes calls void or unlabelled. Raises DataError
    where nothing is left.
    """
    findings = Findings()
    places = _places(folder)
    found = [_pairs(folder, place, findings) for place in places]
    pairs = [pair for each in found for pair in each.pairs]
    notices = []
    if without := [path for each in found for path in each.without]:
        notices.append(f"images without a mask, left out: {listed(without)}")
    if doubled := [path for each in found for path in each.doubled]:
        notices.append(f"images of the same name as another, whose mask theirs would be, left out: {listed(doubled)}")
    fits = list(map_in_order(partial(_fit, folder), pairs))
    bad = [f"{pair.mask} {fit.problem}" for pair, fit in zip(pairs, fits, strict=True) if fit.problem]
    if bad:
        notices.append(
            "masks that do not fit their images, left out with these: "
            f"{'; '.join(bad[:3])}{' and more' * (len(bad) > 3)}"
        )
    kept = [(pair, fit) for pair, fit in zip(pairs, fits, strict=True) if not fit.problem]
    if not kept:
        raise DataError(f"{folder}: none of its {len(pairs)} masks fits its image; the first, {bad[0] if bad else ''}")
    turned = [pair.mask for pair, fit in kept if fit.turn != 1]
    if turned:
        notices.append(
            "photos turned by their EXIF orientation whose masks are not: the masks are turned with them: "
            f"{listed(turned)}"
        )
    files = FileImages(folder, [pair.mask for pair, _ in kept])
    names, codes, line = _classes(
        folder, files, is_voc=places[0].masks == "SegmentationClass", ignore_index=ignore_index
    )
    splits = np.array([pair.split for pair, _ in kept], np.int8)
    if places[0].images == "JPEGImages":
        splits = _voc_splits(folder, [pair.image for pair, _ in kept], splits)
    return Dataset(
        source=str(folder),
        kind="masks",
        class_names=names,
        images=FileImages(folder, [pair.image for pair, _ in kept]),
        labels=np.zeros(len(kept), np.int64),
        given_splits=splits,
        notices=(line, *notices, *findings.notices()),
        root=folder,
        masks=Masks(
            files,
            codes,
            np.array([fit.turn for _, fit in kept], np.int8),
            np.array([fit.size for _, fit in kept], np.int64).reshape(-1, 2),
        ),
    )


def _places(folder: Path) -> list[_Place]:
    """Where images and masks lie, the first layout that fits; none where no layout does."""
    names = [entry.name for entry in folders_in(folder)]
    if (pair := _two_of(names)) is not None:
        return _below(folder, *pair)
    splits = splits_of(names)
    placed = []
    for name, split in splits.items():
        if (pair := _two_of([entry.name for entry in folders_in(folder / name)])) is not None:
            placed.append(_Place(joined(name, pair[0]), joined(name, pair[1]), SPLITS.index(split)))
    if placed:
        return placed
    for name in names:
        stem = _BESIDE.sub("", name)
        if stem != name and stem in names and (split_name := splits_of([stem]).get(stem)) is not None:
            placed.append(_Place(stem, name, SPLITS.index(split_name)))
    return placed


def _two_of(names: Sequence[str]) -> tuple[str, str] | None:
    """The folder of images and that of masks among these names."""
    plain = {re.sub("[^a-z]", "", name.lower()): name for name in names}
    images = next((name for word, name in plain.items() if word in IMAGE_WORDS), None)
    masks = next((plain[word] for word in MASK_WORDS if word in plain and plain[word] != images), None)
    return None if images is None or masks is None else (images, masks)


def _below(folder: Path, images: str, masks: str) -> list[_Place]:
    """One place, or one for each split that the images have a folder for; where the masks have none, its images will
    have no mask.
    """
    of_images, of_masks = (splits_of(entry.name for entry in folders_in(folder / name)) for name in (images, masks))
    both = [
        _Place(joined(images, name), joined(masks, other), SPLITS.index(split))
        for name, split in of_images.items()
        for other, other_split in of_masks.items()
        if split == other_split
    ]
    if not both:
        return [_Place(images, masks)]
    met = {place.images for place in both}
    alone = [name for name in of_images if joined(images, name) not in met]
    return both + [_Place(joined(images, n), joined(masks, n), SPLITS.index(of_images[n])) for n in alone]


def _pairs(folder: Path, place: _Place, findings: Findings) -> _Found:
    """Images with their masks, by name. A mask that has an image's very name is no other's."""
    images = [path for path in walk_files(folder, place.images, findings) if is_image(path)]
    has_masks = (folder / place.masks).is_dir()
    of_masks = [path for path in walk_files(folder, place.masks, findings) if is_image(path)] if has_masks else []
    masks = {_stem(path, place.masks): path for path in of_masks}
    stems = {_stem(path, place.images) for path in images}
    stripped = {_MASK_ENDS.sub("", stem): path for stem, path in masks.items() if stem not in stems}
    found, taken = _Found([], [], []), set()
    for image in images:
        stem = _stem(image, place.images)
        mask = masks.get(stem) or stripped.get(stem) or stripped.get(_IMAGE_ENDS.sub("", stem))
        if mask is None:
            found.without.append(image)
        elif mask in taken:
            found.doubled.append(image)
        else:
            taken.add(mask)
            found.pairs.append(_Pair(image, mask, place.split))
    return found


def _stem(path: str, below: str) -> str:
    return os.path.splitext(path[len(below) + 1 :])[0]


def _fit(folder: Path, pair: _Pair) -> _Fit:
    """Whether a mask has its image's size, as it is shown or as it is stored."""
    try:
        data = FileImages(folder, [pair.image]).read(0)
        facts = image_facts(data)
    except (InputError, OSError):
        return _Fit((1, 1))  # packing will name it, with the reason
    try:
        stored, _ = mask_facts(FileImages(folder, [pair.mask]).read(0))
    except InputError as error:
        return _Fit(problem=str(error))
    except OSError as error:
        return _Fit(problem=f"cannot be read ({error.strerror or error})")
    shown = (facts.height, facts.width)
    if stored == shown:
        return _Fit(shown)
    orientation = stored_orientation(data)
    if stored == shown[::-1] and orientation in _SIDEWAYS:
        return _Fit(shown, orientation)
    return _Fit(problem=f"has {stored[1]} x {stored[0]} pixels but its image {shown[1]} x {shown[0]}")


def _classes(
    folder: Path, files: FileImages, *, is_voc: bool, ignore_index: int | None
) -> tuple[tuple[str, ...], MaskCodes, str]:
    """Names, what values mean, and a line that says where that comes from."""
    kind = _kind(files)
    given = read_class_list(folder)
    if given is None and is_voc:
        given = "Pascal VOC's list", voc_list()
    if given is not None:
        source, classes = given
        if kind == "color" and any(each.color is None for each in classes):
            raise DataError(f"the masks of {folder} are in colour but {source} has no colours; add columns r,g,b")
        names, codes = codes_of_list(classes, "index" if kind == "instances" else kind, ignore_index)
        void = [each.name for each in classes if each.is_void]
        how = "colour" if kind == "color" else "number"
        return (
            names,
            codes,
            f"masks of {len(names)} classes by {how}, from {source}" + f"; {', '.join(void)} ignored" * bool(void),
        )
    if kind == "instances":
        return (
            ("background", "object"),
            MaskCodes("instances", ()),
            ("16-bit masks without a list of classes: 0 is taken for background, every other value for an object"),
        )
    return codes_of_values(_values(files, kind), kind, ignore_index)


def _kind(files: FileImages) -> Kind:
    """How the masks hold classes, by a few of them; by many where those few are RGB but show greys alone, as a
    background does.
    """
    for number in (_FEW, _MOST_LOOKED_AT):
        kinds = set(map_in_order(partial(_kind_of, files), _sample(files, number)))
        if "color" in kinds:
            return "color"
        if "grey in RGB" not in kinds:
            break
    return "instances" if "instances" in kinds else "index"


def _kind_of(files: FileImages, index: int) -> str:
    """Of one mask: a Kind, or "grey in RGB"."""
    try:
        data = files.read(index)
        mode = mask_facts(data)[1]
        if mode.startswith("I"):
            return "instances"
        if mode in ("RGB", "RGBA", "CMYK"):
            values = mask_values(data, as_color=True)
            is_grey = ((values >> 16) == (values & 255)).all() and ((values >> 16) == (values >> 8 & 255)).all()
            return "grey in RGB" if is_grey else "color"
    except (InputError, OSError):
        pass  # it is named where masks are decoded
    return "index"


def _sample(files: FileImages, number: int) -> list[int]:
    """At most so many of the files, evenly."""
    places: list[int] = np.unique(np.linspace(0, len(files) - 1, min(number, len(files))).astype(int)).tolist()
    return places


def _values(files: FileImages, kind: Kind) -> set[int]:
    """Every value that an even sample of the masks holds."""

    def look(index: int) -> set[int]:
        try:
            return set(np.unique(mask_values(files.read(index), as_color=kind == "color")).tolist())
        except (InputError, OSError):
            return set()

    return set().union(*map_in_order(look, _sample(files, _MOST_LOOKED_AT)))


def _voc_splits(folder: Path, images: Sequence[str], splits: np.ndarray) -> np.ndarray:
    """The split of each image by Pascal VOC's lists, where there are any."""
    places = {os.path.splitext(os.path.basename(path))[0]: place for place, path in enumerate(images)}
    result = splits.copy()
    for name, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        path = folder / VOC_LISTS / f"{name}.txt"
        if path.is_file():
            for line in read_regular_file(path, _MAX_LIST_BYTES).decode("utf-8", "replace").split():
                if line in places:
                    result[places[line]] = SPLITS.index(split)
    return result
