"""Where striate keeps what it can make again, and how it writes a file that is either whole or not there."""

import errno
import functools
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from striate.errors import RunError


def cache_dir() -> Path:
    """The cache folder: $STRIATE_CACHE, else $XDG_CACHE_HOME/striate, else ~/.cache/striate. It is not created here.

    Where there is no home folder, or it cannot be written, it is a folder of this user's own among the temporary files.
    """
    if chosen := os.environ.get("STRIATE_CACHE"):
        return Path(os.path.expanduser(chosen))
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "striate"
    home = os.path.expanduser("~")  # a tilde where there is none
    cache = Path(home) / ".cache" / "striate"
    return cache if home != "~" and _can_write(cache) else _temporary_cache()


def _can_write(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, can be written."""
    above = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    return above.is_dir() and os.access(above, os.W_OK | os.X_OK)


@functools.cache
def _temporary_cache() -> Path:
    """A folder among the temporary files that is this user's and closed to all others, so that nobody can put files
    there.
    """
    base = Path(tempfile.gettempdir())
    if not hasattr(os, "getuid"):  # on Windows every user has their own
        return base / "striate-cache"
    folder = base / f"striate-cache-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077:
            return folder
    return Path(tempfile.mkdtemp(prefix="striate-cache-"))


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
    make_folder(path.parent)
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


def write_in_run(path: Path, content: bytes) -> None:
    """Write a file of a run folder as `write_atomically` does. RunError in one line where it cannot be written."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}; free some space") from None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. OSError, which names the file that stands where a folder should, if one
    does.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(path for path in (folder, *folder.parents) if path.exists())
        raise NotADirectoryError(errno.ENOTDIR, f"{file} is a file, and a folder is needed", str(folder)) from None


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename a finished file to `path` in the same folder, for good; it takes on the permissions of what it
    replaces.
    """
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
