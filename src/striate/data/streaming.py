"""Images decoded whenever they are needed, for collections whose decoded form fits no disk.

Every image is decoded once beforehand, like when it is packed, but only its size is kept: what cannot be read is then
known before the first epoch, and a run sees the very images that a run on packed ones sees.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from striate.data.cache import write_atomically
from striate.data.dataset import Dataset
from striate.data.decoding import MAX_PIXELS, decode_picture
from striate.data.hashing import hash_image
from striate.data.packed import has_no_color
from striate.data.packing import (
    Job,
    broken_images,
    check_some_usable,
    decode_rows,
    job_of,
    pack_key,
    read_problem,
)
from striate.data.parallel import num_processors
from striate.data.preprocessing import Preprocessing
from striate.data.readers.shard_reader import ShardImages
from striate.errors import DataError, InputError
from striate.progress import Log, Track, log_nothing, track_silently

MAX_READERS = 16


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """N images of a dataset, each read, decoded and resized when it is asked for; what `PackedImages` would give.

    `hashes` (N, 16) uint8 are those of the scan, `shapes` (N, 2) the (height, width) after resizing; `broken` names the
    images that cannot be decoded, and why. `regions` (N,) says in which shard an image lies, None where there are no
    shards.
    """

    dataset: Dataset
    hashes: np.ndarray
    preprocessing: Preprocessing
    shapes: np.ndarray
    is_grey: bool
    broken: Mapping[int, str] = field(default_factory=dict)
    max_pixels: int = MAX_PIXELS
    excluded: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.dataset)

    def image(self, index: int) -> np.ndarray:
        """Image `index`, (h, w, C) uint8. DataError where it is broken, or is not what it was when it was scanned."""
        name = self.dataset.images.name(int(index))
        if index in self.broken:
            raise DataError(f"image {index} was left out: it {self.broken[index]}")
        try:
            data = self.dataset.images.read(int(index))
        except OSError as error:
            raise DataError(f"{name} {read_problem(error)}, though it could be when the run began") from error
        if hash_image(data) != self.hashes[index].tobytes():
            raise DataError(f"{name} was changed after the source was scanned; start a new run")
        try:
            picture = decode_picture(data, self.preprocessing.channels, max_pixels=self.max_pixels)
        except InputError as error:
            raise DataError(f"{name} {error}, though it could be read before") from error
        return self.preprocessing.resize_image(picture)

    @cached_property
    def usable(self) -> np.ndarray:
        """(N,) bool: False for the broken ones and those left out."""
        usable = np.ones(len(self), bool)
        usable[[*self.broken, *self.excluded]] = False
        return usable

    def without(self, excluded: frozenset[int]) -> "StreamedImages":
        """The same images, of which these are not usable either."""
        return replace(self, excluded=self.excluded | excluded)

    @property
    def channels(self) -> int:
        return self.preprocessing.channels

    @property
    def num_readers(self) -> int:
        """Decoding is worth as many threads as there are processors."""
        return min(MAX_READERS, num_processors())

    @property
    def regions(self) -> np.ndarray | None:
        return self.dataset.images.shard_of if isinstance(self.dataset.images, ShardImages) else None


def stream_images(
    dataset: Dataset,
    hashes: np.ndarray,
    preprocessing: Preprocessing,
    *,
    cache_dir: Path,
    max_pixels: int = MAX_PIXELS,
    num_workers: int | None = None,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> StreamedImages:
    """As `pack_images`, but only sizes are kept, in `cache_dir`/sizes: some 10 bytes an image."""
    job = job_of(dataset, hashes, preprocessing, max_pixels, num_workers, log, track)
    path = cache_dir / "sizes" / f"{pack_key(job.hashes, preprocessing, max_pixels)}.npz"
    found = _recall(path, len(job.indices))
    if found is None:
        log("every image is decoded once to see its size, and again whenever it is needed: nothing is packed")
        found = _look_at_all(job, path)
    row_shapes, has_color, broken_rows = found
    broken = broken_images(job, broken_rows)
    shapes = row_shapes[np.maximum(job.row_of, 0)] if len(row_shapes) else np.zeros((len(dataset), 2), np.int64)
    shapes[list(broken)] = 0
    check_some_usable(dataset, broken)
    return StreamedImages(dataset, hashes, preprocessing, shapes, not has_color, broken, max_pixels)


_Found = tuple[np.ndarray, bool, dict[int, str]]
"""Of all rows: (rows, 2) height and width, whether any has colour, and why broken ones are."""


def _look_at_all(job: Job, path: Path) -> _Found:
    """Decode everything once. What could not be read just now is not remembered."""
    shapes = np.zeros((len(job.indices), 2), np.int64)
    has_color, are_lasting = False, True
    broken: dict[int, str] = {}
    for row, decoded in decode_rows(job, np.arange(len(job.indices))):
        if decoded.image is None:
            broken[row] = decoded.reason
            are_lasting &= decoded.is_lasting
        else:
            shapes[row] = decoded.image.shape[:2]
            has_color |= not has_no_color(decoded.image)
    if are_lasting:
        buffer = io.BytesIO()
        np.savez(
            buffer,
            shapes=shapes.astype(np.int32),
            has_color=np.array(has_color),
            broken=np.array(list(broken), np.int64),
            reasons=np.array(list(broken.values()), np.str_),
        )
        try:
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            job.log(
                f"sizes cannot be kept in {path.parent} ({error.strerror or error}); they are looked at again next time"
            )
    return shapes, has_color, broken


def _recall(path: Path, num_rows: int) -> _Found | None:
    """Read what was kept before; None where there is nothing readable."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as kept:
            shapes, rows, reasons = kept["shapes"], kept["broken"], kept["reasons"]
            has_color = kept["has_color"]
        is_sound = (
            (shapes.shape, shapes.dtype.kind) == ((num_rows, 2), "i")
            and (rows.ndim, rows.dtype.kind) == (1, "i")
            and (reasons.shape, reasons.dtype.kind) == (rows.shape, "U")
            and (has_color.shape, has_color.dtype.kind) == ((), "b")
            and ((rows >= 0) & (rows < num_rows)).all()
            and (np.delete(shapes, rows, axis=0) > 0).all()
        )
    except Exception:  # damaged archives raise nearly anything
        return None
    if not is_sound:
        return None
    return shapes.astype(np.int64), bool(has_color), dict(zip(rows.tolist(), reasons.tolist(), strict=True))
