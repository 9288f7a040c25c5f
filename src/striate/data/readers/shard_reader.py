"""A folder of shards as a data set: random access to images within tars, by the tables beside them."""

import errno
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.files import open_file, read_regular_file
from striate.data.shards import INDEX_FILE, MAX_TABLE_BYTES, Shard, is_count, is_text, read_index
from striate.errors import DataError


@dataclass(frozen=True, eq=False)
class ShardImages:
    """N images: `names`, and where their bytes lie: in which of `paths` (N,), from which offset (N,), how many (N,)."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    shard_of: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return self.names[index]

    def read(self, index: int) -> bytes:
        path, offset, size = self.paths[self.shard_of[index]], int(self.offsets[index]), int(self.sizes[index])
        with open_file(path) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise OSError(errno.EIO, f"{path.name} ends {size - len(data)} bytes too early, in what begins at {offset}")
        return data


def holds_shards(folder: Path) -> bool:
    """Whether a folder is one that `striate data --shards` writes, finished or not."""
    if (folder / INDEX_FILE).is_file():
        return True
    plan = folder / "plan.json"
    return plan.is_file() and _begins_with(plan, b"striate shards")


def _begins_with(path: Path, text: bytes) -> bool:
    with open_file(path) as file:
        return text in file.read(1000)


def read_shards(folder: Path) -> Dataset:
    """The data set in a folder of shards. DataError where shards are missing, torn or do not fit their tables."""
    if not (folder / INDEX_FILE).is_file():
        raise DataError(
            f"the shards in {folder} are not finished; run the `striate data --shards` that began them again"
        )
    index, shards = read_index(folder)
    rows: list[dict[str, Any]] = []
    shard_of: list[int] = []
    for number, shard in enumerate(shards):
        found = _checked_rows(folder, shard, len(index["class_names"]))
        rows += found
        shard_of += [number] * len(found)
    if not rows:
        raise DataError(f"the shards in {folder} hold no images")
    order = np.argsort([row["index"] for row in rows], kind="stable").tolist()  # as in the source they were made of
    rows, shard_of = [rows[place] for place in order], [shard_of[place] for place in order]
    left_out = index["left_out"]
    return Dataset(
        source=str(folder),
        kind="shards",
        class_names=tuple(index["class_names"]),
        images=ShardImages(
            tuple(folder / Path(shard.name).name for shard in shards),  # a name with folders would lead elsewhere
            tuple(row["name"] for row in rows),
            np.array(shard_of, np.int64),
            np.array([row["offset"] for row in rows], np.int64),
            np.array([row["size"] for row in rows], np.int64),
        ),
        labels=np.array([row["label"] for row in rows], np.int64),
        given_splits=np.array(
            [NO_SPLIT if row["split"] is None else SPLITS.index(row["split"]) for row in rows], np.int8
        ),
        has_index_labels=bool(index["has_index_labels"]),
        notices=(f"left out when the shards were written: {len(left_out)} ({left_out[0]}, ...)",) if left_out else (),
        root=folder,
    )


def _checked_rows(folder: Path, shard: Shard, num_classes: int) -> list[dict[str, Any]]:
    """The table of a shard, after a look at whether it can be true."""
    if Path(shard.name).name != shard.name or not shard.name.endswith(".tar"):
        raise DataError(
            f"{folder / INDEX_FILE} names the shard {shard.name!r}, which is not a file beside it; write the shards "
            "again"
        )
    path = folder / shard.name
    try:
        rows = json.loads(read_regular_file(path.with_suffix(".json"), MAX_TABLE_BYTES))["images"]
        with open_file(path) as file:
            found_bytes = file.seek(0, 2)
        if not isinstance(rows, list) or not all(_is_row(row) for row in rows):
            raise ValueError("its rows are not name, label, split, index, offset and size")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(f"shard {path} or its table cannot be read ({str(error)[:200]}); copy both again") from None
    if found_bytes != shard.size_bytes:
        raise DataError(_torn(path, shard, rows, found_bytes))
    fits = len(rows) == shard.num_images and all(
        row["offset"] + row["size"] <= found_bytes and row["label"] < num_classes for row in rows
    )
    if not fits:
        raise DataError(f"the table of shard {path} does not fit it; copy both again, or write the shards again")
    return rows


def _is_row(row: Any) -> bool:
    """Whether every part of a row is of the type it should be."""
    return (
        isinstance(row, dict)
        and is_text(row["name"])
        and all(is_count(row[key]) for key in ("label", "index", "offset", "size"))
        and row["split"] in (None, *SPLITS)
    )


def _torn(path: Path, shard: Shard, rows: list[dict[str, Any]], found_bytes: int) -> str:
    """Where a shard of another length ends, and which image that is."""
    cut = next((row for row in rows if row["offset"] + row["size"] > found_bytes), None)
    where = f", within {cut['name']}, which begins at byte {cut['offset']:,}" if cut is not None else ""
    return (
        f"shard {path} is torn: it ends at byte {found_bytes:,} of {shard.size_bytes:,}{where}; copy it again, or "
        "delete it and run the `striate data --shards` that wrote it again"
    )
