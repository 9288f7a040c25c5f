"""Whether there is memory for what a file says it holds, asked before it is taken."""

import os
from pathlib import Path

from striate.errors import DataError

DEFLATE_RATIO = 1040
"""Deflate packs no more bytes than so many into one: a run of 258 takes two bits at least."""
_MEMINFO = Path("/proc/meminfo")


def check_memory(num_bytes: int, what: str) -> None:
    """Raise DataError where `what` would take more memory than this machine has free; where that cannot be known,
    never.
    """
    free = free_memory()
    if free is not None and num_bytes > free:
        raise DataError(
            f"{what} needs {num_bytes:,} bytes of memory and {free:,} are free; use a folder of images instead"
        )


def free_memory() -> int | None:
    """Bytes that can still be had without anything being pushed out; None where the system does not say."""
    try:
        for line in _MEMINFO.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
