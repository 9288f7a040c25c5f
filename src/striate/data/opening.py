"""From a source's name to its packed images: scan, hash, decode once."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from striate.data.cache import cache_dir
from striate.data.dataset import Dataset
from striate.data.decoding import MAX_PIXELS
from striate.data.edits import NO_EDITS, Edits, apply_edits
from striate.data.hashing import fingerprint, hash_images
from striate.data.objects import without_lost_boxes
from striate.data.packed import PreparedImages
from striate.data.packing import pack_images
from striate.data.preprocessing import Preprocessing
from striate.data.readers.columns import Columns
from striate.data.readers.sources import open_source
from striate.data.readers.table import NO_COLUMNS
from striate.data.streaming import stream_images
from striate.progress import Log, Track, log_nothing, track_silently

_NAMED = 3


@dataclass(frozen=True)
class Access:
    """Access to data, as against which data: nothing here changes what is read, unless it is refused.

    `data_dir` is where named sets lie, `download` allows them to be fetched, `max_pixels` refuses larger images. `log`
    and `track` hear what happens; nothing is printed otherwise. `columns` are those of a CSV that are asked for. `task`
    says which annotations to read where there are several kinds, and `ignore_index` which value of masks counts for
    nothing. `edits` leave images out and give others another class, as `read_edits` reads them from files.
    """

    data_dir: str | Path | None = None
    download: bool = False
    max_pixels: int = MAX_PIXELS
    num_workers: int | None = None
    log: Log = log_nothing
    track: Track = track_silently
    columns: Columns = NO_COLUMNS
    task: str | None = None
    ignore_index: int | None = None
    edits: Edits = NO_EDITS


@dataclass(frozen=True)
class OpenedData:
    """A scanned source with the hash of every image, (N, 16) uint8, and the fingerprint of all of it, without edits.

    `left_out` (N,) bool are the images that `edits` leave out, None where they leave out none; the labels of `dataset`
    are those after the edits, whose images go by the source's own names.
    """

    dataset: Dataset
    hashes: np.ndarray
    fingerprint: str
    left_out: np.ndarray | None = None
    edits: Edits = NO_EDITS

    @property
    def is_kept(self) -> np.ndarray:
        """(N,) bool: the images that are not left out."""
        return np.ones(len(self.dataset), bool) if self.left_out is None else ~self.left_out


def scan_source(source: str | Path, access: Access) -> Dataset:
    """What is in a source, no image read. Raises DataError."""
    return open_source(
        source,
        data_dir=None if access.data_dir is None else Path(access.data_dir),
        download=access.download,
        log=access.log,
        columns=access.columns,
        task=access.task,
        ignore_index=access.ignore_index,
    )


def open_data(source: str | Path, access: Access) -> OpenedData:
    """Scan a source, hash its images, apply the edits; what was noticed is told. Raises DataError, InputError."""
    dataset = scan_source(source, access)
    for notice in dataset.notices:
        access.log(notice)
    dataset = without_lost_boxes(dataset)
    hashes = hash_images(dataset, track=access.track, num_workers=access.num_workers)
    return edited(OpenedData(dataset, hashes, fingerprint(dataset, hashes)), access.edits, access.log)


def edited(data: OpenedData, edits: Edits, log: Log) -> OpenedData:
    """The data with these edits; those that were made before stay where there are none. Raises InputError."""
    if not edits:
        return data
    dataset, left_out, found = apply_edits(data.dataset, edits, log)
    return replace(data, dataset=dataset, left_out=left_out if left_out.any() else None, edits=found)


def with_lasting_edits(source: str | Path, access: Access) -> Access:
    """The access with its edits by the source's own names, which mean the same from any folder."""
    if not access.edits:
        return access
    return replace(access, edits=apply_edits(scan_source(source, access), access.edits, log_nothing)[2])


def pack_data(
    data: OpenedData, preprocessing: Preprocessing, access: Access, *, stream: bool = False
) -> PreparedImages:
    """Decode every image once, or find that it was done before; unreadable ones are told. With `stream` nothing is kept
    but sizes, and images are decoded again when they are needed.
    """
    prepare = stream_images if stream else pack_images
    packed: PreparedImages = prepare(
        data.dataset,
        data.hashes,
        preprocessing,
        cache_dir=cache_dir(),
        max_pixels=access.max_pixels,
        num_workers=access.num_workers,
        log=access.log,
        track=access.track,
    )
    excluded = frozenset() if data.left_out is None else frozenset(np.flatnonzero(data.left_out).tolist())
    if broken := [index for index in packed.broken if index not in excluded]:
        named = [f"{data.dataset.images.name(index)} {packed.broken[index]}" for index in broken[:_NAMED]]
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        plural = "" if len(broken) == 1 else "s"
        access.log(f"left out {len(broken)} unreadable image{plural}: {'; '.join(named)}{more}")
    return packed.without(excluded) if excluded else packed
