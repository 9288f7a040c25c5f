"""From a source's name to its packed images: scan, hash, decode once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from striate.data.cache import cache_dir
from striate.data.dataset import Dataset
from striate.data.decoding import MAX_PIXELS
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
    nothing.
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


@dataclass(frozen=True)
class OpenedData:
    """A scanned source with the hash of every image, (N, 16) uint8, and the fingerprint of all of it."""

    dataset: Dataset
    hashes: np.ndarray
    fingerprint: str


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
    """Scan a source and hash its images; what the scan noticed is told. Raises DataError."""
    dataset = scan_source(source, access)
    for notice in dataset.notices:
        access.log(notice)
    dataset = without_lost_boxes(dataset)
    hashes = hash_images(dataset, track=access.track, num_workers=access.num_workers)
    return OpenedData(dataset, hashes, fingerprint(dataset, hashes))


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
    if packed.broken:
        named = [
            f"{data.dataset.images.name(index)} {reason}" for index, reason in list(packed.broken.items())[:_NAMED]
        ]
        more = f" and {len(packed.broken) - _NAMED} more" if len(packed.broken) > _NAMED else ""
        plural = "" if len(packed.broken) == 1 else "s"
        access.log(f"left out {len(packed.broken)} unreadable image{plural}: {'; '.join(named)}{more}")
    return packed
