"""The memory of a `striate` command: freed blocks are kept, which saves much of the time of training on a CPU
(docs/decisions/0004), and Python does not search what it has just loaded for garbage.

The C library of Linux hands every large block back to the kernel when it is freed, so each big activation is paged in
anew at every step: zeroed by the kernel, a page fault for every 4 kB. The process of a `striate` command keeps its
memory instead. It is set by the command alone; a library does not change its host's allocator.
"""

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# names and numbers of <malloc.h>
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_LARGEST_INT = 2**31 - 1
_TOP_PAD_BYTES = 64 * 2**20


def keep_freed_memory() -> bool:
    """Ask the C library to keep large freed blocks; whether it does. Nothing happens off Linux, or with
    STRIATE_TRIM_MEMORY set.
    """
    if not sys.platform.startswith("linux") or os.environ.get("STRIATE_TRIM_MEMORY"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # a C library without it, such as musl
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _LARGEST_INT), (_M_TOP_PAD, _TOP_PAD_BYTES))
    return all(mallopt(name, value) == 1 for name, value in settings)


@contextmanager
def importing() -> Iterator[None]:
    """For imports that load PyTorch: Python's collector of cyclic garbage would go over all of it again and again, for
    a quarter of the time. What was loaded is never garbage, so the collector leaves it alone from then on.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def end_quickly() -> None:
    """Have the collector leave everything alone once the process ends, when nothing is to be found: it took most of a
    second.
    """
    atexit.register(gc.freeze)
