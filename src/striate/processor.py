"""The processor of this machine, for measurements that are remembered. Imports nothing heavy."""

import platform
import shutil
import sys
from functools import cache
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_COMPILERS = ("c++", "g++", "clang++")


@cache
def processor() -> tuple[str, str]:
    """Name and abilities of the first processor, as Linux tells them; other systems give the name alone."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").split("\n\n", 1)[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine(), ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    names = [facts.get(key, "") for key in ("vendor_id", "cpu family", "model", "model name", "CPU part")]
    return " ".join(name for name in names if name) or platform.machine(), facts.get("flags", facts.get("Features", ""))


def has_cpp_compiler() -> bool:
    """Whether torch.compile finds what it needs to compile for the CPU."""
    return sys.platform == "win32" or any(shutil.which(name) for name in _COMPILERS)
