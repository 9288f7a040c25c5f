"""Files from strangers, opened so that none of them can make striate wait for ever or take more memory than it may."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_file(path: str | Path) -> BufferedReader:
    """A file, open to read bytes from. Raises OSError, also for pipes, sockets, devices and folders: reading those may
    never end.
    """
    # a pipe that nobody writes to would be waited for in the very act of opening
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        check_regular(os.fstat(number).st_mode, path)
    except OSError:
        os.close(number)
        raise
    return os.fdopen(number, "rb")


def read_regular_file(path: str | Path, max_bytes: int | None = None) -> bytes:
    """The bytes of a file, at most `max_bytes`; OSError as above, and for a file that is larger."""
    with open_file(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if max_bytes is not None and size_bytes > max_bytes:
            raise OSError(errno.EFBIG, f"it has {size_bytes:,} bytes, over the limit of {max_bytes:,}")
        return file.read() if max_bytes is None else file.read(max_bytes)


def check_regular(mode: int, path: str | Path) -> None:
    """Raise OSError unless a file of this mode is one that has an end."""
    if not stat.S_ISREG(mode):
        kinds = (
            (stat.S_ISDIR, "is a folder"), (stat.S_ISFIFO, "is a pipe"), (stat.S_ISSOCK, "is a socket"),
            (stat.S_ISCHR, "is a device"), (stat.S_ISBLK, "is a device"),
        )  # fmt: skip
        what = next((text for test, text in kinds if test(mode)), "is of another kind")
        raise OSError(errno.EINVAL, f"it {what}, not a regular file", os.fspath(path))
