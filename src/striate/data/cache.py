"""Where striate keeps what it can make again, and how it writes a file that is either whole or not there."""

import os
import tempfile
from pathlib import Path


def cache_dir() -> Path:
    """The cache folder: $STRIATE_CACHE, else $XDG_CACHE_HOME/striate, else ~/.cache/striate. It is not created here."""
    if chosen := os.environ.get("STRIATE_CACHE"):
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "striate"
    return Path.home() / ".cache" / "striate"


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` in `path` so that a reader, also after a crash, finds the old file or the new one and never a part.

    Missing folders are created. The file gets the permissions that a plain `open` would give. Raises OSError, and
    leaves nothing behind, when it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        move_into_place(Path(temporary), path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename a finished temporary file to `path` in the same folder, replacing what was there, for good."""
    if not path.exists():
        _give_plain_permissions(temporary)
    else:
        temporary.chmod(path.stat().st_mode & 0o777)
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut; does nothing where folders cannot be opened (Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_plain_permissions(temporary: Path) -> None:
    """The mode of a new file: a temporary one is private, and reading the umask means setting it for the process."""
    probe = temporary.with_suffix(".mode")
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        temporary.chmod(probe.stat().st_mode & 0o777)
    finally:
        probe.unlink()
