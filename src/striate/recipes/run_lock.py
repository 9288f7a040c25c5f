"""One process at a time works in a run folder: a lock that the system gives back when its holder dies, however it
dies.
"""

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from striate.errors import RunError

LOCK_FILE = "run.lock"
_NOT_SUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_LOCKED_BYTE = 1 << 20  # on Windows a locked byte cannot be read, and what stands before it must be


@contextmanager
def locking_run(run_dir: Path) -> Iterator[None]:
    """Hold the run folder, which must exist, for as long as the block lasts.

    Raises RunError with the holder's process number where another process holds it, or where nothing can be written
    there. File systems that know no locks get none.
    """
    path = run_dir / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}") from None
    try:
        if not _lock(descriptor):
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip() or "another process"
            raise RunError(
                f"{run_dir} is in use by {holder}; wait until it ends, or stop it, and try again, or name another run "
                "folder"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Whether this process holds the file now; True as well where the file system cannot say."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
            os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        return error.errno in _NOT_SUPPORTED
    return True
