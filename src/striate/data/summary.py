"""Summary of a source, found by decoding every image: counts, sizes, broken files, duplicates, leakage between
splits.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from striate.data.checks.image_statistics import ImageStatistics, image_statistics
from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.decoding import MAX_PIXELS, ImageFacts, decode_picture, image_facts
from striate.data.hashing import HASH_BYTES, fingerprint, hash_image
from striate.data.mask_pack import undeclared_line
from striate.data.masks import Masks
from striate.data.object_summary import UNASSIGNED, count_images_with, object_facts
from striate.data.objects import Objects, settle
from striate.data.parallel import map_in_order
from striate.data.splits import find_copies
from striate.errors import InputError
from striate.progress import Track, track_silently

_NUM_COMMON_SIZES = 5


@dataclass(frozen=True)
class SizeRange:
    """Lengths in pixels."""

    min: int
    median: float
    max: int


@dataclass(frozen=True)
class SizeSummary:
    """Sizes of the images that can be read, as they are shown; `most_common` holds ((height, width), how many)."""

    height: SizeRange
    width: SizeRange
    most_common: tuple[tuple[tuple[int, int], int], ...]


@dataclass(frozen=True)
class DataSummary:
    """Summary of a source. Images go by the names that the source gives them.

    `images_per_class`: split ("train", "validation", "test", or "unassigned") -> class -> how many images, readable
    or not; only splits that occur, and every class. `modes` and `formats` count what Pillow calls them. `broken`
    holds (name, reason). `copies` are groups of byte-identical images; `leaks` are those that lie in more than one
    split, `conflicts` those with more than one class. `missing_classes`: split -> classes without an image in it.
    `sizes` is None when no image can be read. `pixels_per_class`, where there are masks, is the fraction of all pixels
    that count; then `images_per_class` counts images that have a pixel of the class, and `broken` names masks as well.
    Where the source has many objects an image, an image counts for each class it has an object of, `objects_per_class`
    counts the objects themselves, `num_empty` is how many images have none, `num_ignored` how many objects are crowds
    or marked difficult, and `flaws` has a line for each box that was put right or left out.
    """

    source: str
    kind: str
    num_images: int
    num_classes: int
    fingerprint: str
    images_per_class: dict[str, dict[str, int]]
    sizes: SizeSummary | None
    modes: dict[str, int]
    formats: dict[str, int]
    broken: tuple[tuple[str, str], ...]
    copies: tuple[tuple[str, ...], ...]
    leaks: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]
    missing_classes: dict[str, tuple[str, ...]]
    notices: tuple[str, ...]
    pixels_per_class: dict[str, float] | None = None
    objects_per_class: dict[str, dict[str, int]] | None = None
    num_empty: int = 0
    num_ignored: int = 0
    flaws: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Look:
    """The outcome of reading one image: facts, or the reason why it cannot be read, and its statistics where they are
    wanted.
    """

    hash: bytes
    facts: ImageFacts | None
    reason: str
    statistics: ImageStatistics | None = None


def summarize(
    dataset: Dataset,
    *,
    track: Track = track_silently,
    num_workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    on_statistics: Callable[[int, ImageStatistics | None], None] | None = None,
) -> DataSummary:
    """The summary of a scanned source; every image is decoded to the end, in `num_workers` threads, and none is kept.

    `on_statistics` is given the place and the statistics of each image in turn, None for one that cannot be read.

    `dataset` is what `open_source` gives; images of more than `max_pixels` pixels count as broken.
    """
    wants_statistics = on_statistics is not None
    looks = map_in_order(
        lambda index: _look(dataset, index, max_pixels, wants_statistics), range(len(dataset)), num_workers=num_workers
    )
    seen = []
    for index, look in enumerate(track(looks, "decoding images", len(dataset))):
        if on_statistics is not None:
            on_statistics(index, look.statistics)
        seen.append(dataclasses.replace(look, statistics=None))
    hashes = np.array([np.frombuffer(look.hash, dtype=np.uint8) for look in seen]).reshape(-1, HASH_BYTES)
    facts = [look.facts for look in seen if look.facts is not None]
    names = [dataset.images.name(index) for index in range(len(dataset))]
    copies = find_copies(hashes, np.ones(len(dataset), dtype=bool))

    def named(groups: Iterable[np.ndarray]) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(names[index] for index in group) for group in groups)

    objects = _settled(dataset, seen)
    masks = None if dataset.masks is None else _look_at_masks(dataset, dataset.masks, track, num_workers)
    if objects is not None:
        images_per_class = count_images_with(dataset, objects[0])
    else:
        images_per_class = _count_classes(dataset) if masks is None else _count_images(dataset, masks.counts)
    broken = [(name, look.reason) for name, look in zip(names, seen, strict=True) if look.facts is None]
    return DataSummary(
        source=dataset.source,
        kind=dataset.kind,
        num_images=len(dataset),
        num_classes=len(dataset.class_names if objects is None else objects[0].class_names),
        fingerprint=fingerprint(dataset, hashes),
        images_per_class=images_per_class,
        sizes=_summarize_sizes(facts),
        modes=dict(Counter(fact.mode for fact in facts).most_common()),
        formats=dict(Counter(fact.format for fact in facts).most_common()),
        broken=(*broken, *(() if masks is None else masks.broken)),
        copies=named(copies),
        leaks=named(group for group in copies if len(np.unique(dataset.given_splits[group])) > 1),
        conflicts=()
        if objects is not None
        else named(group for group in copies if len(np.unique(dataset.labels[group])) > 1),
        missing_classes=_missing_classes(images_per_class),
        notices=(*dataset.notices, *(() if masks is None else masks.notices)),
        pixels_per_class=None if masks is None else masks.fractions(dataset.class_names),
        **object_facts(dataset, *objects) if objects is not None else {},
    )


def _settled(dataset: Dataset, seen: "list[_Look]") -> tuple[Objects, tuple[str, ...]] | None:
    """The objects that can be used and the flaws of the others, where the source has several an image."""
    if dataset.objects is None:
        return None
    sizes = np.array([(0, 0) if look.facts is None else (look.facts.height, look.facts.width) for look in seen])
    return settle(dataset.objects, sizes.reshape(-1, 2), dataset.images.name)


@dataclass(frozen=True, eq=False)
class _MaskLook:
    """What masks hold: pixels of each class in each image, (N, K); those that cannot be read; lines on undeclared
    values.
    """

    counts: np.ndarray
    broken: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]

    def fractions(self, class_names: tuple[str, ...]) -> dict[str, float]:
        """Of all pixels that have a class, by name."""
        pixels = self.counts.sum(axis=0)
        return dict(zip(class_names, (pixels / max(1, int(pixels.sum()))).tolist(), strict=True))


def _look_at_masks(dataset: Dataset, masks: Masks, track: Track, num_workers: int | None) -> _MaskLook:
    """Decode every mask to the end, and keep none."""
    num_classes = len(dataset.class_names)

    def look(index: int) -> tuple[np.ndarray, dict[int, int], str]:
        try:
            classes, undeclared = masks.read(index)
        except InputError as error:
            return np.zeros(num_classes, np.int64), {}, str(error)
        except OSError as error:
            return np.zeros(num_classes, np.int64), {}, f"cannot be read ({error.strerror or error})"
        return np.bincount(classes.reshape(-1), minlength=256)[:num_classes], undeclared, ""

    looks = map_in_order(look, range(len(masks)), num_workers=num_workers)
    seen = list(track(looks, "decoding masks", len(masks)))
    undeclared: Counter[int] = Counter()
    for _, unknown, _ in seen:
        undeclared.update(unknown)
    lines = (undeclared_line(undeclared, masks.codes.kind == "color"),) if undeclared else ()
    broken = tuple((masks.files.name(index), reason) for index, (_, _, reason) in enumerate(seen) if reason)
    return _MaskLook(np.array([counts for counts, _, _ in seen]).reshape(-1, num_classes), broken, lines)


def _count_images(dataset: Dataset, counts: np.ndarray) -> dict[str, dict[str, int]]:
    """Split -> class -> number of images with a pixel of it, for the splits that occur."""
    result = {}
    for split, name in [*enumerate(SPLITS), (NO_SPLIT, UNASSIGNED)]:
        own = dataset.given_splits == split
        if own.any():
            numbers = (counts[own] > 0).sum(axis=0).tolist()
            result[name] = dict(zip(dataset.class_names, numbers, strict=True))
    return result


def _look(dataset: Dataset, index: int, max_pixels: int, wants_statistics: bool) -> _Look:
    """Read, hash and decode one image."""
    try:
        data = dataset.images.read(index)
    except OSError as error:
        return _Look(bytes(HASH_BYTES), None, f"cannot be read ({error.strerror or error})")
    digest = hash_image(data)
    try:
        facts = image_facts(data, max_pixels=max_pixels)
        picture = decode_picture(data, data.shape[-1] if isinstance(data, np.ndarray) else 3, max_pixels=max_pixels)
    except InputError as error:
        return _Look(digest, None, str(error))
    return _Look(digest, facts, "", image_statistics(data, picture, facts) if wants_statistics else None)


def _count_classes(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Split -> class -> number of images, for the splits that occur."""
    counts = {}
    for split, name in [*enumerate(SPLITS), (NO_SPLIT, UNASSIGNED)]:
        labels = dataset.labels[dataset.given_splits == split]
        if len(labels):
            numbers = np.bincount(labels, minlength=len(dataset.class_names))
            counts[name] = {
                class_name: int(number) for class_name, number in zip(dataset.class_names, numbers, strict=True)
            }
    return counts


def _missing_classes(images_per_class: dict[str, dict[str, int]]) -> dict[str, tuple[str, ...]]:
    missing = {
        split: tuple(name for name, number in counts.items() if number == 0)
        for split, counts in images_per_class.items()
    }
    return {split: names for split, names in missing.items() if names}


def _summarize_sizes(facts: list[ImageFacts]) -> SizeSummary | None:
    if not facts:
        return None
    common = Counter((fact.height, fact.width) for fact in facts).most_common(_NUM_COMMON_SIZES)
    return SizeSummary(
        height=_range([fact.height for fact in facts]),
        width=_range([fact.width for fact in facts]),
        most_common=tuple(common),
    )


def _range(lengths: list[int]) -> SizeRange:
    return SizeRange(min=min(lengths), median=float(np.median(lengths)), max=max(lengths))
