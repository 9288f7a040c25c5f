"""Many objects an image: what a source says of them, and what of it can be used. N images, M objects of all images
together.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from striate.data.decoding import image_facts
from striate.data.parallel import map_in_order
from striate.data.readers.access import natural_order
from striate.errors import InputError

if TYPE_CHECKING:
    from striate.data.dataset import Dataset

ANY_CLASS, UNKNOWN_CLASS = -1, -2
"""Labels of a region that is left out for every class, and of an object whose class the source does not name."""
_LEAST_PX = 0.01
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a source, in the order of its images and, within one, of its file.

    `images` (M,) int64 index the images; `labels` (M,) int64 index `class_names`, or are ANY_CLASS or UNKNOWN_CLASS;
    `boxes` (M, 4) float64 are (x1, y1, x2, y2) in pixels of the image as it is shown, or with `are_fractions` as
    fractions of it. `are_ignored` (M,): crowds and what is marked difficult, which neither count as objects nor as
    mistakes to find. `numbers` (M,) count the objects of a file from 1.
    """

    class_names: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    are_ignored: np.ndarray
    numbers: np.ndarray
    are_fractions: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, chosen: np.ndarray) -> "Objects":
        """Some of them, by a mask or places."""
        parts = {name: getattr(self, name)[chosen] for name in ("images", "labels", "boxes", "are_ignored", "numbers")}
        return replace(self, **parts)


@dataclass(frozen=True)
class ListedObject:
    """One object as a file lists it: its class by name, None for any class, "" for one that is not named; its box; see
    Objects.
    """

    name: str | None
    box: tuple[float, float, float, float]
    is_ignored: bool = False


def gather(
    per_image: Sequence[Sequence[ListedObject]],
    class_names: Iterable[str] | None = None,
    *,
    are_fractions: bool = False,
) -> Objects:
    """The objects of N images; classes are those given, or all that occur, in natural order."""
    if class_names is None:
        class_names = natural_order(sorted({each.name for listed in per_image for each in listed if each.name}))
    names = tuple(class_names)
    place_of: dict[str | None, int] = {name: place for place, name in enumerate(names)} | {None: ANY_CLASS}
    flat = [(image, number, each) for image, listed in enumerate(per_image) for number, each in enumerate(listed, 1)]
    return Objects(
        names,
        np.array([image for image, _, _ in flat], np.int64),
        np.array([place_of.get(each.name, UNKNOWN_CLASS) for _, _, each in flat], np.int64),
        np.array([each.box for _, _, each in flat], np.float64).reshape(-1, 4),
        np.array([each.is_ignored for _, _, each in flat], bool),
        np.array([number for _, number, _ in flat], np.int64),
        are_fractions,
    )


def largest_of(objects: Objects, num_images: int) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """What a task with one object an image takes: the classes of the largest objects, their labels (N,) and boxes (N,
    4) in the objects' own unit, corners as listed. An image without an object that has an area and a class has label 0
    and a box of NaN.
    """
    labels, boxes = np.zeros(num_images, np.int64), np.full((num_images, 4), np.nan)
    areas = np.abs(objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(axis=1)
    order = np.lexsort((-np.arange(len(objects)), areas))  # the first of equal ones last, so that it stays
    for place in order[(areas[order] > 0) & (objects.labels[order] >= 0)]:
        labels[objects.images[place]], boxes[objects.images[place]] = objects.labels[place], objects.boxes[place]
    has_one = np.isfinite(boxes[:, 0])
    used = np.unique(labels[has_one])
    names = natural_order([objects.class_names[label] for label in used])
    place_of = np.zeros(len(objects.class_names) + 1, np.int64)
    for label in used:
        place_of[label] = names.index(objects.class_names[label])
    return tuple(names), np.where(has_one, place_of[labels], 0), boxes


def image_sizes(read: Callable[[int], bytes | np.ndarray], num_images: int) -> np.ndarray:
    """(height, width) of each image as it is shown, from its header: (N, 2) int64; 0 where it cannot be read."""
    return np.array(list(map_in_order(partial(_size, read), range(num_images))), np.int64).reshape(-1, 2)


def settle(objects: Objects, sizes: np.ndarray, name_of: Callable[[int], str]) -> tuple[Objects, tuple[str, ...]]:
    """The objects that can be used, in pixels and cut at the borders of images of these sizes (N, 2); and a line for
    each flaw.

    Fractions where pixels should be are scaled, corners that are exchanged are put right, and what has no area, lies
    outside or is of an unknown class is left out. Objects of images that cannot be read stay as they are.
    """
    sides = np.maximum(sizes, 0)[objects.images][:, [1, 0, 1, 0]].astype(float)
    is_read = (sides > 0).all(axis=1)
    boxes = objects.boxes * sides if objects.are_fractions else objects.boxes.copy()
    flaws: dict[int, str] = {}

    def note(chosen: np.ndarray, words: str) -> np.ndarray:
        for place in np.flatnonzero(chosen):
            flaws.setdefault(int(place), words)
        return chosen

    is_finite = np.isfinite(boxes).all(axis=1)
    lost = note(~is_finite, "a border is no number, left out")
    lost |= note(objects.labels == UNKNOWN_CLASS, "its class is not among those of the source, left out")
    if not objects.are_fractions:
        tiny = is_read & (boxes >= 0).all(axis=1) & (boxes <= 1).all(axis=1) & _all_of_image(boxes, objects.images)
        note(tiny, "in fractions of the image, taken as such")
        boxes[tiny] *= sides[tiny]
    swapped = (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    note(swapped & ~lost, "corners exchanged, put right")
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    lost |= note((boxes[:, 2:] - boxes[:, :2] <= _LEAST_PX).any(axis=1) & ~lost, "no area, left out")
    cut = np.where(is_read[:, None], np.clip(boxes, 0, sides), boxes)
    outside = is_read & ~lost & (cut[:, 2:] - cut[:, :2] <= _LEAST_PX).any(axis=1)
    lost |= note(outside, "outside its image, left out")
    over = np.abs(cut - boxes).max(axis=1, initial=0) > np.maximum(1.5, 0.02 * sides.max(axis=1, initial=0))
    note(over & is_read & ~lost, "reaches over the border of its image, cut there")
    lines = tuple(f"{name_of(objects.images[p])}, object {objects.numbers[p]}: {flaws[p]}" for p in sorted(flaws))
    return replace(objects, boxes=cut, are_fractions=False).of(~lost), lines


def chosen_objects(dataset: "Dataset") -> Objects:
    """The object of each image that the box in `dataset.boxes` is of; where there is none, all that the source lists of
    the image.
    """
    assert dataset.objects is not None
    assert dataset.boxes is not None
    own = dataset.boxes[dataset.objects.images]
    places = np.flatnonzero((dataset.objects.boxes == own).all(axis=1))
    firsts = np.unique(dataset.objects.images[places], return_index=True)[1]
    return dataset.objects.of(np.union1d(places[firsts], np.flatnonzero(np.isnan(own[:, 0]))))


def without_lost_boxes(dataset: "Dataset") -> "Dataset":
    """The source with a box of NaN for each image whose one box lies outside it or has no area there."""
    if dataset.boxes is None or dataset.objects is None:
        return dataset
    objects, _ = settle(chosen_objects(dataset), image_sizes(dataset.images.read, len(dataset)), dataset.images.name)
    lost = np.setdiff1d(np.flatnonzero(np.isfinite(dataset.boxes[:, 0])), objects.images)
    boxes = dataset.boxes.copy()
    boxes[lost] = np.nan
    return replace(dataset, boxes=boxes) if len(lost) else dataset


def flaws_in_words(flaws: Sequence[str]) -> str:
    """How many boxes have flaws, and the first few of the lines that `settle` gives."""
    more = f"; and {len(flaws) - _NAMED:,} more, see: striate data" if len(flaws) > _NAMED else ""
    return f"{len(flaws):,} flawed box{'es' * (len(flaws) > 1)}: {'; '.join(flaws[:_NAMED])}{more}"


def _all_of_image(boxes: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(M,) bool: whether no box of the same image reaches beyond 1."""
    largest = np.zeros(images.max(initial=-1) + 1)
    np.maximum.at(largest, images, np.nan_to_num(boxes, nan=np.inf).max(axis=1, initial=0))
    return largest[images] <= 1


def _size(read: Callable[[int], bytes | np.ndarray], index: int) -> tuple[int, int]:
    try:
        facts = image_facts(read(index))
    except (InputError, OSError):
        return 0, 0
    return facts.height, facts.width
