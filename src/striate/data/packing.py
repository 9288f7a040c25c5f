"""Decode every image once, resize it, and keep it as uint8 rows for all runs that see the same images the same way."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from striate.data.dataset import Dataset, ImageReader
from striate.data.decoding import MAX_PIXELS, NO_MEMORY, decode_picture
from striate.data.hashing import hash_image
from striate.data.pack_folder import (
    MEMORY_LIMIT_BYTES,
    DamagedPack,
    PackWriter,
    StoredPack,
    is_complete,
    is_full,
    read_pack,
    remove_pack,
    sole_writer,
)
from striate.data.packed import PackedImages, has_no_color
from striate.data.parallel import num_processors, prefetch
from striate.data.preprocessing import MAX_ASPECT, Preprocessing
from striate.errors import DataError, InputError, RunError
from striate.progress import Log, Track, log_nothing, track_silently

POLICY = 1
"""Part of every pack's key; raised with every change to what decoding or resizing give."""
_CHUNK = 16
_SMALL_CHUNK, _SMALL_BYTES = 256, 4096
"""Images held as pixels, none larger than so much, are taken so many at a time: what costs is the handing over."""
_FEW_IMAGES = 5_000  # resized in less than a second


@dataclass(frozen=True)
class Decoded:
    """The outcome of decoding one image: its pixels, or the reason why there are none, which lasts or is of this moment
    only.
    """

    image: np.ndarray | None
    reason: str = ""
    is_lasting: bool = True


@dataclass(frozen=True, eq=False)
class Job:
    """A plan of what to decode and how. Identical images are one row, so image i is `row_of[i]`, or -1 if it was not
    hashed.

    `indices` has an image of the dataset for each row, and `hashes` its hash.
    """

    dataset: Dataset
    indices: np.ndarray
    hashes: np.ndarray
    row_of: np.ndarray
    preprocessing: Preprocessing
    max_pixels: int
    num_workers: int
    log: Log
    track: Track

    @cached_property
    def first_pixels(self) -> np.ndarray | None:
        """The first image where the source holds pixels and not files: it stands for all."""
        try:
            first = self.dataset.images.read(int(self.indices[0])) if len(self.indices) else None
        except OSError:
            return None
        return first if isinstance(first, np.ndarray) else None


def pack_images(
    dataset: Dataset,
    hashes: np.ndarray,
    preprocessing: Preprocessing,
    *,
    cache_dir: Path,
    max_pixels: int = MAX_PIXELS,
    num_workers: int | None = None,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> PackedImages:
    """Every image of the dataset, decoded and resized (not cropped), from `cache_dir`/packs where it was made before.

    `hashes` (N, 16) uint8 identify the images; a row of zeros is one that could not be read. Small sources that hold
    pixels stay in memory. Images are decoded in `num_workers` threads (one a processor by default). Work that was cut
    off is taken up; a damaged pack is made again, and told. Broken images are in the result's `broken`. Raises
    DataError when no image can be decoded, RunError when the cache cannot be written.
    """
    job = job_of(dataset, hashes, preprocessing, max_pixels, num_workers, log, track)
    if _stays_in_memory(job):
        packed = _pack_in_memory(job)
    else:
        folder = cache_dir / "packs" / pack_key(job.hashes, preprocessing, max_pixels)
        try:
            packed = _pack_on_disk(job, folder)
        except OSError as error:
            raise RunError(_storage_problem(error, folder)) from error
    check_some_usable(dataset, packed.broken)
    return packed


def job_of(
    dataset: Dataset,
    hashes: np.ndarray,
    preprocessing: Preprocessing,
    max_pixels: int,
    num_workers: int | None,
    log: Log,
    track: Track,
) -> Job:
    """Plan the decoding: a row for every distinct image. InputError where hashes do not fit."""
    if hashes.shape != (len(dataset), 16):
        raise InputError(f"expected a hash of 16 bytes for each of {len(dataset)} images but got {hashes.shape}")
    is_hashed = hashes.any(axis=1)
    unique, first, inverse = np.unique(hashes[is_hashed], axis=0, return_index=True, return_inverse=True)
    row_of = np.full(len(dataset), -1)
    row_of[is_hashed] = inverse.reshape(-1)
    indices = np.flatnonzero(is_hashed)[first]
    workers = num_workers or num_processors()
    return Job(dataset, indices, unique, row_of, preprocessing, max_pixels, workers, log, track)


def check_some_usable(dataset: Dataset, broken: Mapping[int, str]) -> None:
    """DataError where no image of the dataset can be decoded."""
    if len(broken) == len(dataset):
        index, reason = next(iter(broken.items()), (0, ""))
        named = f"; the first, {dataset.images.name(index)}, {reason}" if reason else ""
        raise DataError(f"none of the {len(dataset)} images in {dataset.source} can be decoded{named}")


def pack_key(unique_hashes: np.ndarray, preprocessing: Preprocessing, max_pixels: int) -> str:
    """The name of a pack's folder: a digest of the images and of all that decides their packed pixels."""
    how = {
        "policy": POLICY,
        "pillow": PIL.__version__,
        "max_pixels": max_pixels,
        "max_aspect": MAX_ASPECT,
        "channels": preprocessing.channels,
        "resize": preprocessing.resize,
        "resize_size": preprocessing.resize_size,
        "interpolation": preprocessing.interpolation,
        **({"fit": preprocessing.crop_size} if preprocessing.resize == "fit" else {}),
    }
    digest = hashlib.blake2b(json.dumps(how, sort_keys=True).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(unique_hashes).data)
    return digest.hexdigest()


def _stays_in_memory(job: Job) -> bool:
    """Whether the source holds pixels that need no work, or little, and that fit; the first image stands for all."""
    if not len(job.indices):
        return True
    first = job.first_pixels
    if first is None:
        return False
    height, width = job.preprocessing.packed_size(*first.shape[:2])
    is_little_work = (height, width) == first.shape[:2] or len(job.indices) <= _FEW_IMAGES
    return is_little_work and len(job.indices) * height * width * job.preprocessing.channels <= MEMORY_LIMIT_BYTES


def _pack_in_memory(job: Job) -> PackedImages:
    images, packed_rows, broken = [], [], {}
    for row, decoded in decode_rows(job, np.arange(len(job.indices))):
        if decoded.image is None:
            broken[row] = decoded.reason
        else:
            images.append(decoded.image)
            packed_rows.append(row)
    offsets, shapes = np.zeros(len(job.indices), np.int64), np.zeros((len(job.indices), 2), np.int64)
    if not images:
        return _by_image(job, np.zeros(0, np.uint8), offsets, shapes, broken, is_grey=False)
    packed = PackedImages.from_images(images)
    offsets[packed_rows], shapes[packed_rows] = packed.offsets, packed.shapes
    return _by_image(job, packed.pixels, offsets, shapes, broken, is_grey=packed.is_grey)


def _pack_on_disk(job: Job, folder: Path) -> PackedImages:
    stored, unread = _read_complete(job, folder), {}
    if stored is None:
        with sole_writer(folder, job.log):
            stored = _read_or_remove(job, folder)
            if stored is None or not is_complete(folder):
                unread = _write_missing(job, folder, stored)
                stored = read_pack(folder, len(job.indices), job.preprocessing.channels, check_pixels=False)
    shapes = np.stack([stored.records["height"], stored.records["width"]], axis=1).astype(np.int64)
    broken = stored.broken | unread
    return _by_image(job, stored.pixels, stored.records["offset"], shapes, broken, is_grey=stored.is_grey)


def _read_complete(job: Job, folder: Path) -> StoredPack | None:
    """A finished pack, which takes no lock and nothing to be written; None where there is none, or a damaged one."""
    try:
        return read_pack(folder, len(job.indices), job.preprocessing.channels) if is_complete(folder) else None
    except (DamagedPack, FileNotFoundError):  # missing: somebody is making it again this very moment
        return None


def _read_or_remove(job: Job, folder: Path) -> StoredPack | None:
    """Read what was packed so far; None where there is nothing, or where it was damaged and is now gone."""
    if not folder.exists():
        return None
    try:
        return read_pack(folder, len(job.indices), job.preprocessing.channels)
    except (DamagedPack, FileNotFoundError) as error:
        reason = error if isinstance(error, DamagedPack) else "a file of it is gone"
        job.log(f"the packed images in {folder} are damaged ({reason}); packing them again")
        remove_pack(folder)
        return None


def _write_missing(job: Job, folder: Path, stored: StoredPack | None) -> dict[int, str]:
    """Decode and append what a pack lacks; gives back the rows that could not be read just now, and why."""
    missing = np.arange(len(job.indices)) if stored is None else stored.missing
    if len(missing):
        _log_plan(job, folder, missing)
    unread = {}
    with PackWriter(folder, stored) as writer:
        for row, decoded in decode_rows(job, missing):
            if decoded.image is not None:
                writer.append(row, decoded.image, has_color=not has_no_color(decoded.image))
            elif decoded.is_lasting:
                writer.append_broken(row, decoded.reason)
            else:
                unread[row] = decoded.reason
        if not unread:
            writer.finish({"source": job.dataset.source, "preprocessing": job.preprocessing.to_json()})
    return unread


def _log_plan(job: Job, folder: Path, missing: np.ndarray) -> None:
    """Say what is about to be written, and whether it looks as if there were no room for it; the first image stands
    for all.
    """
    _, first = _decode_chunk(job, missing[:1])[0]
    expected_bytes = 0 if first.image is None else len(missing) * first.image.nbytes
    num_rows = len(job.indices)
    what = f"{num_rows} images"
    if len(missing) < num_rows:
        what = f"{len(missing)} of {num_rows} images (the others were packed before)"
    room = "" if first.image is None else f", about {expected_bytes / 1e6:.1f} MB,"
    job.log(f"packing {what}{room} into {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(folder).free
    if expected_bytes > free_bytes:
        job.log(f"only {free_bytes / 1e6:.1f} MB are free there; set STRIATE_CACHE to a folder with more room")


def decode_rows(job: Job, rows: np.ndarray) -> Iterator[tuple[int, Decoded]]:
    """The rows in order, each with its image; decoded in threads, a bounded number ahead."""
    first = job.first_pixels
    length = _SMALL_CHUNK if first is not None and first.size <= _SMALL_BYTES else _CHUNK
    chunks = [rows[start : start + length] for start in range(0, len(rows), length)]
    thunks = (partial(_decode_chunk, job, chunk) for chunk in chunks)
    with closing(prefetch(thunks, depth=2 * job.num_workers, num_workers=job.num_workers)) as results:
        yield from job.track(_flatten(results), "decoding images", len(rows))


def _flatten(chunks: Iterable[list[tuple[int, Decoded]]]) -> Iterator[tuple[int, Decoded]]:
    for chunk in chunks:
        yield from chunk


def _decode_chunk(job: Job, rows: np.ndarray) -> list[tuple[int, Decoded]]:
    """The rows with their images resized; small ones that are all of one size at once."""
    decoded, small = [], []
    for place, row in enumerate(rows):
        try:
            picture = _decode(job, int(row))
        except _Unread as error:
            decoded.append(error.decoded)
            continue
        if isinstance(picture, np.ndarray) and picture.size <= _SMALL_BYTES:
            small.append((place, picture))
            decoded.append(Decoded(picture))
        else:
            decoded.append(_resized(job, picture))
    alike = len({image.shape for _, image in small}) == 1
    parts = [small] if alike else [[each] for each in small]
    for part in parts:
        resized = job.preprocessing.resize_images(np.stack([image for _, image in part]))
        for (place, _), image in zip(part, resized, strict=True):
            decoded[place] = Decoded(image)
    return list(zip(rows.tolist(), decoded, strict=True))


def _resized(job: Job, picture: np.ndarray | Image.Image) -> Decoded:
    try:
        return Decoded(job.preprocessing.resize_image(picture))
    except MemoryError:
        return Decoded(None, NO_MEMORY, is_lasting=False)


class _Unread(Exception):
    """There are no pixels; `decoded` says why."""

    def __init__(self, reason: str, *, is_lasting: bool) -> None:
        super().__init__(reason)
        self.decoded = Decoded(None, reason, is_lasting)


def _decode(job: Job, row: int) -> np.ndarray | Image.Image:
    """The image as it is, not yet resized; raises _Unread."""
    try:
        data = job.dataset.images.read(int(job.indices[row]))
    except OSError as error:
        raise _Unread(read_problem(error), is_lasting=False) from error
    if hash_image(data) != job.hashes[row].tobytes():  # under this hash, other runs would find the wrong pixels
        raise _Unread("was changed after the source was scanned", is_lasting=False)
    try:
        return decode_picture(data, job.preprocessing.channels, max_pixels=job.max_pixels)
    except InputError as error:  # memory may be there another time
        raise _Unread(str(error), is_lasting=str(error) != NO_MEMORY) from error


def _by_image(
    job: Job,
    pixels: np.ndarray,
    offsets: np.ndarray,
    shapes: np.ndarray,
    broken_rows: dict[int, str],
    *,
    is_grey: bool,
) -> PackedImages:
    """From rows to images: identical ones share a row, those that were never hashed have none."""
    broken = broken_images(job, broken_rows)
    rows = np.maximum(job.row_of, 0)
    if not len(job.indices):
        offsets, shapes = np.zeros(1, np.int64), np.zeros((1, 2), np.int64)
    offsets, shapes = offsets[rows].copy(), shapes[rows].copy()
    offsets[list(broken)], shapes[list(broken)] = 0, 0
    return PackedImages(pixels, offsets, shapes, job.preprocessing.channels, is_grey, broken)


def broken_images(job: Job, broken_rows: dict[int, str]) -> dict[int, str]:
    """The images without pixels, and why: those of broken rows, and those that could not be read and so have no row."""
    broken = {}
    for index in np.flatnonzero((job.row_of < 0) | np.isin(job.row_of, list(broken_rows))).tolist():
        row = int(job.row_of[index])
        broken[index] = broken_rows[row] if row >= 0 else _why_unhashed(job.dataset.images, index)
    return broken


def _why_unhashed(images: ImageReader, index: int) -> str:
    try:
        images.read(index)
    except OSError as error:
        return read_problem(error)
    return "could not be read a moment ago; try again"


def read_problem(error: OSError) -> str:
    """The predicate that completes "photo.jpg ..."."""
    return f"cannot be read ({error.strerror or error})"


def _storage_problem(error: OSError, folder: Path) -> str:
    if is_full(error):
        return (
            f"the disk is full while packing images into {folder}; make room, or set STRIATE_CACHE to another folder, "
            "and run again; what there was no room to record is packed anew"
        )
    reason = error.strerror or error
    return f"packed images cannot be kept in {folder}: {reason}; set STRIATE_CACHE to a folder that can be written"
