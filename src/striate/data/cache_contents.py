"""What lies in the cache, and emptying it: only folders that striate makes itself are ever touched."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from striate.data.cache import cache_dir
from striate.errors import InputError

KINDS = {
    "packs": "decoded images",
    "masks": "decoded masks",
    "sizes": "sizes of streamed images",
    "modes": "ways of computing that were measured",
    "engines": "engines that were measured, with exported copies",
    "weights": "published weights that were fetched",
    "mnist": "a standard set that was fetched",
    "fashion-mnist": "a standard set that was fetched",
    "cifar10": "a standard set that was fetched",
    "cifar100": "a standard set that was fetched",
}
"""Every folder of the cache, and what it holds."""


@dataclass(frozen=True)
class CacheEntry:
    """One kind of thing in the cache."""

    kind: str
    holds: str
    num_files: int
    size_bytes: int


def cache_contents() -> tuple[CacheEntry, ...]:
    """Every kind there is something of, the largest first."""
    entries = [CacheEntry(kind, holds, *_measure(cache_dir() / kind)) for kind, holds in KINDS.items()]
    return tuple(sorted((entry for entry in entries if entry.num_files), key=lambda entry: -entry.size_bytes))


def empty_cache(kind: str = "all") -> int:
    """Delete one kind, or all; how many bytes that freed. InputError for another word, and where something cannot be
    deleted.
    """
    if kind not in (*KINDS, "all"):
        raise InputError(f"the cache has no {kind!r}; say all, or one of {', '.join(KINDS)}")
    freed = 0
    for name in KINDS if kind == "all" else (kind,):
        folder = cache_dir() / name
        if not os.path.lexists(folder):
            continue
        size_bytes = _measure(folder)[1]
        try:
            if folder.is_symlink():  # what a link leads to is somebody's
                folder.unlink()
            else:
                shutil.rmtree(folder)
        except OSError as error:
            raise InputError(f"{folder} cannot be deleted: {error.strerror or error}") from None
        freed += size_bytes
    return freed


def _measure(folder: Path) -> tuple[int, int]:
    """How many files lie below a folder, and their bytes; links are not followed."""
    num_files = size_bytes = 0
    for parent, _, files in os.walk(folder) if not folder.is_symlink() else ():
        for name in files:
            num_files += 1
            size_bytes += os.lstat(os.path.join(parent, name)).st_size
    return num_files, size_bytes
