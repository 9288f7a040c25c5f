"""Where striate keeps what it can make again, and how it writes a file that is either whole or not there."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def cache_dir() -> Path:
    """The cache folder: $STRIATE_CACHE, else $XDG_CACHE_HOME/striate, else ~/.cache/striate. It is not created here."""
    if chosen := os.environ.get("STRIATE_CACHE"):
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "striate"
    return Path.home() / ".cache" / "striate"


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` in `path` so that a reader, also after a crash, finds the old file or the new one and never a part.

    Missing folders are created. Raises OSError, and leaves nothing behind, when it cannot be written.
    """
    with writing_atomically(path) as file:
        file.write(data)


@contextmanager
def writing_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which becomes `path` when the block ends and vanishes when the block raises.

    It lies in the same folder, is on the disk before it is renamed, and has the permissions of the file it replaces
    or else those that `open` would give. Missing folders are created. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        move_into_place(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename a finished file to `path` in the same folder, for good; it takes on the permissions of what it replaces."""
    if path.is_file():
        temporary.chmod(path.stat().st_mode & 0o777)
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut; does nothing where folders cannot be opened (Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
