"""The layout of packed images on disk: a folder that several processes share and that survives being killed at any
moment.

`pixels` holds the images one after another, in no particular order. `index` has one record an image: its row number,
where its pixels are and their checksum; it is only ever appended to, and an image's record is written after its pixels
are safely on disk. `broken.jsonl` holds the reasons of the images that cannot be decoded. `complete.json` comes last
and has the size of `pixels` and the checksum of `index`. So whatever was begun and not recorded is cut off and made
again.
"""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from filelock import FileLock, Timeout

from striate.data.cache import write_atomically
from striate.data.stored_values import stored_count, stored_text
from striate.progress import Log

FORMAT = 1
MEMORY_LIMIT_BYTES = 256 * 2**20
"""Packs up to this size are read into memory, and checked as a whole whenever they are opened."""
_WRITE_BYTES, _FLUSH_BYTES = 2**20, 64 * 2**20
_MISSING, _PACKED, _BROKEN = 0, 1, 2
_RECORD = np.dtype(
    [
        ("row", "<i8"),
        ("offset", "<i8"),
        ("height", "<i4"),
        ("width", "<i4"),
        ("checksum", "<u4"),
        ("state", "u1"),
        ("has_color", "u1"),
        ("unused", "<u2"),
    ]
)


class DamagedPack(Exception):
    """The folder's content cannot be what was written; the message says where it shows."""


@dataclass(frozen=True, eq=False)
class StoredPack:
    """The content of a pack folder: `records` by row number, the flat `pixels`, and the reasons for the broken rows."""

    records: np.ndarray
    pixels: np.ndarray
    broken: dict[int, str]

    @property
    def missing(self) -> np.ndarray:
        """The row numbers that were not stored yet."""
        return np.flatnonzero(self.records["state"] == _MISSING)

    @property
    def is_grey(self) -> bool:
        """Whether no image has any colour."""
        return not self.records["has_color"].any()


def is_complete(folder: Path) -> bool:
    """Whether somebody finished this pack."""
    return (folder / "complete.json").exists()


def read_pack(folder: Path, num_rows: int, channels: int, *, check_pixels: bool = True) -> StoredPack:
    """Read a pack folder, complete or not; DamagedPack where sizes or checksums do not agree, OSError as it comes.

    Who has written the pixels himself, a moment ago, need not have their checksums computed again.
    """
    stored = (folder / "index").read_bytes() if (folder / "index").exists() else b""
    size_bytes = (folder / "pixels").stat().st_size if stored else 0
    if is_complete(folder):
        _check_summary(folder, stored, size_bytes)
    written = np.frombuffer(stored[: len(stored) // _RECORD.itemsize * _RECORD.itemsize], _RECORD)
    sizes = written["height"].astype(np.int64) * written["width"] * channels
    is_sound = (
        ((written["row"] >= 0) & (written["row"] < num_rows)).all()
        and len(np.unique(written["row"])) == len(written)
        and np.isin(written["state"], (_PACKED, _BROKEN)).all()
        and (np.minimum(written["height"], written["width"]) >= (written["state"] == _PACKED)).all()
        and (sizes[written["state"] == _BROKEN] == 0).all()
        and (sizes >= 0).all()
        and (np.cumsum(sizes) - sizes == written["offset"]).all()
        and sizes.sum() <= size_bytes
    )
    if not is_sound:
        raise DamagedPack("its index is not sound")
    pixels = _map_pixels(folder / "pixels", int(sizes.sum()))
    if check_pixels:
        _check_pixels(pixels, written, sizes)
    records = np.zeros(num_rows, _RECORD)
    records[written["row"]] = written
    return StoredPack(records, pixels, _read_reasons(folder, records))


class PackWriter:
    """Appends rows to a pack. Use as a context; what was appended and not yet recorded is recorded at its end.

    `stored` is what `read_pack` found; whatever lies behind it in the files is cut off. Raises OSError.
    """

    def __init__(self, folder: Path, stored: StoredPack | None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._num_recorded = 0 if stored is None else len(stored.records) - len(stored.missing)
        self._offset = 0 if stored is None else len(stored.pixels)
        self._files = {name: (folder / name).open("ab", buffering=0) for name in ("pixels", "index", "broken.jsonl")}
        self._files["pixels"].truncate(self._offset)
        self._waiting: list[tuple[tuple[int, ...], bytes | memoryview]] = []  # records with pixels yet to be written
        self._waiting_bytes = 0
        self._records: list[tuple[int, ...]] = []
        self._reasons: list[str] = []
        self._recorded_offset = self._offset

    def append(self, row: int, image: np.ndarray, *, has_color: bool) -> None:
        """Store the image (h, w, C) uint8 of a row."""
        data = np.ascontiguousarray(image).reshape(-1).data
        self._await((row, self._end, *image.shape[:2], zlib.crc32(data), _PACKED, has_color, 0), data)
        if self._end - self._recorded_offset >= _FLUSH_BYTES:
            self._record()
        elif self._waiting_bytes >= _WRITE_BYTES:
            self._write_waiting()

    def append_broken(self, row: int, reason: str) -> None:
        """Remember that the image of a row cannot be decoded, and why."""
        # a line begins with its break, so that one torn by a kill does not swallow the next
        self._reasons.append("\n" + json.dumps({"row": row, "reason": reason}))
        self._await((row, self._end, 0, 0, 0, _BROKEN, 0, 0), b"")

    def finish(self, about: dict[str, object]) -> None:
        """Declare the pack complete; `about` is for people who look into the folder."""
        self._record()
        os.fsync(self._files["index"].fileno())
        summary = {
            "format": FORMAT,
            "size_bytes": self._offset,
            "index_blake2b": _digest((self.folder / "index").read_bytes()),
            **about,
        }
        write_atomically(self.folder / "complete.json", json.dumps(summary, indent=1).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._record()
        except OSError:
            if error is None:
                raise  # otherwise what stopped the work is told, not that its last part could not be kept either
        finally:
            for file in self._files.values():
                file.close()

    @property
    def _end(self) -> int:
        """Where the pixels of the next image will lie."""
        return self._offset + self._waiting_bytes

    def _await(self, record: tuple[int, ...], data: bytes | memoryview) -> None:
        self._waiting.append((record, data))
        self._waiting_bytes += len(data)

    def _write_waiting(self) -> None:
        """Write small images many at a time: a call of the system costs more than they do.

        Of those that an interrupt or a full disk left in part or unwritten there will be no record.
        """
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        try:
            self._write("pixels", b"".join(data for _, data in waiting))
        finally:
            size_bytes = os.fstat(self._files["pixels"].fileno()).st_size
            written = [(record, data) for record, data in waiting if record[1] + len(data) <= size_bytes]
            self._offset += sum(len(data) for _, data in written)
            self._records += [record for record, _ in written]

    def _record(self) -> None:
        """Write the records of what was appended, once its pixels and reasons are on disk."""
        self._write_waiting()
        self._files["pixels"].truncate(self._offset)  # part of an image, on a full disk, leaves no room for records
        self._write("broken.jsonl", "".join(self._reasons).encode())
        for name in ("pixels", "broken.jsonl"):
            os.fsync(self._files[name].fileno())
        self._files["index"].truncate(self._num_recorded * _RECORD.itemsize)  # where an earlier try broke off
        self._write("index", np.array(self._records, _RECORD).tobytes())
        self._num_recorded += len(self._records)
        self._records, self._reasons, self._recorded_offset = [], [], self._offset

    def _write(self, name: str, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[self._files[name].write(view) :]


def remove_pack(folder: Path) -> None:
    """Take a pack away, its summary first; processes that have it open keep what they see."""
    (folder / "complete.json").unlink(missing_ok=True)
    shutil.rmtree(folder)


@contextmanager
def sole_writer(folder: Path, log: Log) -> Iterator[None]:
    """Wait until no other process writes to this pack. The lock goes with the process, however that ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log("another process is packing the same images; waiting for it")
        lock.acquire()
    except NotImplementedError:
        raise OSError(errno.ENOLCK, "its file system has no locks") from None
    try:
        yield
    finally:
        lock.release()


def is_full(error: OSError) -> bool:
    """Whether an OSError means that the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _check_summary(folder: Path, index: bytes, size_bytes: int) -> None:
    try:
        summary = json.loads((folder / "complete.json").read_bytes())
        promised = (summary["format"], summary["size_bytes"], summary["index_blake2b"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DamagedPack("its summary cannot be read") from None
    if promised != (FORMAT, size_bytes, _digest(index)):
        raise DamagedPack("its files are not those that were finished")


def _map_pixels(path: Path, size_bytes: int) -> np.ndarray:
    if size_bytes == 0:
        return np.zeros(0, np.uint8)
    if size_bytes > MEMORY_LIMIT_BYTES:
        return np.asarray(np.memmap(path, np.uint8, mode="r", shape=(size_bytes,)))
    pixels = np.fromfile(path, np.uint8, size_bytes)
    pixels.setflags(write=False)
    return pixels


def _check_pixels(pixels: np.ndarray, written: np.ndarray, sizes: np.ndarray) -> None:
    """Compare checksums: all up to MEMORY_LIMIT_BYTES, in larger packs about as many bytes spread over the whole."""
    step = max(1, -(-len(pixels) // MEMORY_LIMIT_BYTES))
    for record, size in zip(
        written[::-step], sizes[::-step], strict=True
    ):  # the last, which may be torn, is among them
        if zlib.crc32(pixels[record["offset"] : record["offset"] + size].data) != record["checksum"]:
            raise DamagedPack("its pixels do not have their checksum")


def _read_reasons(folder: Path, records: np.ndarray) -> dict[int, str]:
    """Of each broken row; reasons whose record was not written are passed over."""
    rows = np.flatnonzero(records["state"] == _BROKEN)
    reasons: dict[int, str] = {}
    if len(rows):
        for line in (folder / "broken.jsonl").read_bytes().split(b"\n"):
            try:
                entry = json.loads(line)
                reasons[stored_count(entry["row"])] = stored_text(entry["reason"])
            except (ValueError, KeyError, TypeError, RecursionError):
                continue  # a torn line: its row was not recorded then, or is missed below
    if lost := set(rows.tolist()) - set(reasons):
        raise DamagedPack(f"the reasons of {len(lost)} broken images are lost")
    return {row: reasons[row] for row in rows.tolist()}


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
