"""Collections in shards: plain tar files of a few hundred megabytes, which disks and networks read in one go.

A folder of shards holds `shards.json`, which comes last and lists the classes and every shard with its size and
SHA-256; `SPLIT-NNNNNN.tar` with three members an image, KEY.jpg (or .png, ...: the original bytes, unchanged), KEY.cls
(the class number) and KEY.json (name, class, split), as WebDataset reads them; and beside each tar a
`SPLIT-NNNNNN.json`, its table: what lies where. Images are dealt out in an order drawn by a fixed seed, so that every
shard is a fair sample of its split. Only tables say where images lie: the names within tars are never used as paths.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from striate.data.cache import make_folder, write_atomically, writing_atomically
from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.files import open_file, read_regular_file
from striate.errors import DataError, InputError, RunError
from striate.progress import Log, Track, log_nothing, track_silently

FORMAT = 1
INDEX_FILE = "shards.json"
UNASSIGNED = "images"
"""The name of shards of images without a split."""
MAX_TABLE_BYTES = 1 << 30
"""An index or a table is read into memory whole; ten million images take as many bytes."""
_ORDER_SEED = 0
_MEGABYTE = 1_000_000
_SUFFIXES = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp", b"II*\0": "tif", b"MM\0*": "tif"}


@dataclass(frozen=True)
class Shard:
    """One tar: its file name, split, number of images, bytes and SHA-256."""

    name: str
    split: str
    num_images: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Written:
    """The result of `write_shards`: the shards, how many of them were there already, and the images that could not be
    read.
    """

    folder: Path
    shards: tuple[Shard, ...]
    num_kept: int
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "folder": str(self.folder),
            "num_images": sum(shard.num_images for shard in self.shards),
            "num_kept": self.num_kept,
            "left_out": list(self.left_out),
            "shards": [asdict(shard) for shard in self.shards],
        }


def write_shards(
    dataset: Dataset,
    folder: Path,
    *,
    shard_mb: int = 256,
    log: Log = log_nothing,
    track: Track = track_silently,
) -> Written:
    """The dataset as shards of about `shard_mb` million bytes in `folder`; whole shards of a run that was killed are
    kept.

    Encoded images keep their bytes; pixels become PNG. Images that cannot be read are left out and named. Raises
    InputError where the folder holds something else, RunError where it cannot be written.

    `dataset` is what `open_source` gives.
    """
    if shard_mb < 1:
        raise InputError(f"a shard must have at least 1 megabyte but shard_mb is {shard_mb}")
    plan = _plan(dataset, shard_mb)
    try:
        _begin(folder, plan, dataset)
        tables, num_kept, left_out = [], 0, []
        order = _order(dataset)
        progress = iter(track(range(len(dataset)), "writing shards", len(dataset)))
        for split, indices in order.items():
            start, number = 0, 0
            while start < len(indices):
                name = f"{split}-{number:06d}"
                table = _read_table(folder, name)
                if table is None:
                    table = _write_shard(dataset, folder, name, split, indices[start:], shard_mb * _MEGABYTE)
                else:
                    num_kept += 1
                tables.append(table)
                left_out += table["left_out"]
                for _ in range(table["num_taken"]):
                    next(progress, None)
                start, number = start + table["num_taken"], number + 1
        shards = tuple(Shard(**table["shard"]) for table in tables if table["shard"]["num_images"])
        index = plan | {"class_names": list(dataset.class_names), "has_index_labels": dataset.has_index_labels}
        index |= {"source": dataset.source, "left_out": left_out, "shards": [asdict(shard) for shard in shards]}
        write_atomically(folder / INDEX_FILE, _to_json(index))
    except OSError as error:
        raise RunError(
            f"shards cannot be written to {folder}: {error.strerror or error}; make room or name another folder, and "
            "run again: whole shards are kept"
        ) from error
    if num_kept:
        log(f"{num_kept} of {len(tables)} shards were whole already")
    return Written(folder, shards, num_kept, tuple(left_out))


def _plan(dataset: Dataset, shard_mb: int) -> dict[str, Any]:
    """The settings that decide which image comes into which shard."""
    state = hashlib.sha256()
    for index in range(len(dataset)):
        class_name = dataset.class_names[dataset.labels[index]]
        state.update(f"{dataset.images.name(index)}\0{class_name}\0{dataset.given_splits[index]}\0".encode())
    return {"format": FORMAT, "what": "striate shards", "shard_mb": shard_mb, "names_sha256": state.hexdigest()}


def _begin(folder: Path, plan: dict[str, Any], dataset: Dataset) -> None:
    """Make the folder, or make sure that it holds shards of this very plan."""
    path = folder / "plan.json"
    if path.is_file():
        try:
            found = json.loads(read_regular_file(path, MAX_TABLE_BYTES))
        except (ValueError, RecursionError):
            found = None
        if found != plan:
            raise InputError(
                f"{folder} holds shards of another source, or of other sizes than {plan['shard_mb']} MB; "
                f"name an empty folder for those of {dataset.source}"
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and holds something other than shards; name an empty folder")
    make_folder(folder)
    write_atomically(path, _to_json(plan))


def _order(dataset: Dataset) -> dict[str, np.ndarray]:
    """For each split its images in the order in which they are dealt out."""
    bits = np.random.PCG64(np.random.SeedSequence([_ORDER_SEED])).random_raw(len(dataset))
    order = np.argsort(bits, kind="stable")
    names = {NO_SPLIT: UNASSIGNED} | dict(enumerate(SPLITS))
    return {name: part for number, name in names.items() if len(part := order[dataset.given_splits[order] == number])}


def _write_shard(
    dataset: Dataset, folder: Path, name: str, split: str, indices: np.ndarray, limit_bytes: int
) -> dict[str, Any]:
    """Write one tar of the first of these images, and its table, which comes second and vouches for it."""
    rows: list[dict[str, Any]] = []
    left_out, num_taken = [], 0
    with writing_atomically(folder / f"{name}.tar") as file:
        tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed below
        for index in indices.tolist():
            num_taken += 1
            try:
                content = dataset.images.read(index)
            except OSError as error:
                left_out.append(f"{dataset.images.name(index)} cannot be read ({error.strerror or error})")
                continue
            rows.append(_add_image(tar, file, dataset, index, content))
            if file.tell() >= limit_bytes:
                break
        tar.close()
        size_bytes = file.tell()
    shard = Shard(f"{name}.tar", split, len(rows), size_bytes, sha256_of(folder / f"{name}.tar"))
    table = {"shard": asdict(shard), "num_taken": num_taken, "left_out": left_out, "images": rows}
    write_atomically(folder / f"{name}.json", _to_json(table))
    return table


def _add_image(
    tar: tarfile.TarFile, file: BinaryIO, dataset: Dataset, index: int, content: bytes | np.ndarray
) -> dict[str, Any]:
    """Add the three members of an image; its row of the table."""
    data = content if isinstance(content, bytes) else _to_png(content)
    key, label = f"{index:09d}", int(dataset.labels[index])
    split = int(dataset.given_splits[index])
    row = {"name": dataset.images.name(index), "label": label, "split": None if split == NO_SPLIT else SPLITS[split]}
    described = row | {"class": dataset.class_names[label]}
    _add(tar, f"{key}.{_suffix(data)}", data)
    offset = file.tell() - _padded(len(data))
    _add(tar, f"{key}.cls", str(label).encode())
    _add(tar, f"{key}.json", json.dumps(described, ensure_ascii=False).encode("utf-8", "surrogateescape"))
    return row | {"index": index, "offset": offset, "size": len(data)}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member without owner or date, so that the same images make the same bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _suffix(data: bytes) -> str:
    """The usual ending of such a file, by its first bytes; "img" for others."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((suffix for start, suffix in _SUFFIXES.items() if data.startswith(start)), "img")


def _to_png(pixels: np.ndarray) -> bytes:
    """Pixels (H, W, C) uint8 without loss. InputError for other than 1 or 3 channels."""
    if pixels.shape[2] not in (1, 3):
        raise InputError(f"shards hold images of 1 or 3 channels but these have {pixels.shape[2]}")
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _read_table(folder: Path, name: str) -> dict[str, Any] | None:
    """The table of a shard that is whole; None where there is none yet."""
    try:
        table: dict[str, Any] = json.loads(read_regular_file(folder / f"{name}.json", MAX_TABLE_BYTES))
        is_whole = (folder / f"{name}.tar").stat().st_size == table["shard"]["size_bytes"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return table if is_whole else None


def sha256_of(path: Path) -> str:
    """64 hexadecimal digits of a file's bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged_shards(folder: Path, shards: tuple[Shard, ...], *, track: Track = track_silently) -> Iterator[str]:
    """A line for each shard whose bytes are not those that were written; every byte is read."""
    for shard in track(shards, "verifying shards", len(shards)):
        if sha256_of(folder / shard.name) != shard.sha256:
            yield f"{shard.name} is damaged: its SHA-256 is not that of {INDEX_FILE}; copy it again"


def read_index(folder: Path) -> tuple[dict[str, Any], tuple[Shard, ...]]:
    """What `shards.json` says, every part of it of the type it should be. DataError where it is not one of ours."""
    path = folder / INDEX_FILE
    try:
        index = json.loads(read_regular_file(path, MAX_TABLE_BYTES))
        if type(index["format"]) is not int or index["format"] < 1:
            raise ValueError("its format is no number")
        if index["format"] > FORMAT:
            raise DataError(f"{path} has version {index['format']}; this striate reads up to {FORMAT}: update it")
        _check_index(index)
        return index, tuple(Shard(**shard) for shard in index["shards"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(
            f"{path} cannot be read as an index of shards ({str(error)[:200]}); write the shards again"
        ) from None


def _check_index(index: dict[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError for what no index of ours holds."""
    names, left_out, shards = index["class_names"], index["left_out"], index["shards"]
    if not all(isinstance(part, list) for part in (names, left_out, shards)):
        raise ValueError("its class_names, left_out and shards are no lists")
    if not all(is_text(name) for name in (*names, *left_out)) or len(set(names)) < len(names) or "" in names:
        raise ValueError("its class_names are not different names, or its left_out no texts")
    if type(index["has_index_labels"]) is not bool:
        raise ValueError("its has_index_labels is not true or false")
    for shard in shards:
        fits = isinstance(shard, dict) and all(is_text(shard[key]) for key in ("name", "split", "sha256"))
        if not fits or not all(is_count(shard[key]) for key in ("num_images", "size_bytes")):
            raise ValueError("one of its shards has no name, split, sha256, num_images and size_bytes")
    if len({shard["name"] for shard in shards}) < len(shards):
        raise ValueError("one of its shards is there twice")


def is_count(value: object) -> bool:
    """Whether a value from a file is a whole number that a file's length can be."""
    return type(value) is int and 0 <= value < 2**62


def is_text(value: object) -> bool:
    """Whether a value from a file is a text that can be written again: no halves of pairs, which JSON lets through."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _to_json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")
