"""The machine and versions that a measurement holds for. Imports nothing heavy."""

import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from striate.data.parallel import num_processors
from striate.engines.engine import num_threads
from striate.processor import processor
from striate.version import __version__

PACKAGES = ("torch", "onnxruntime", "openvino", "numpy")


def this_machine(gpu: str = "") -> dict[str, Any]:
    """Facts that decide the speed of engines: processor, its abilities, processors, threads, and the versions
    installed; and the `gpu`, by name, where that computes.
    """
    model, flags = processor()
    return {
        **({"gpu": gpu} if gpu else {}),
        "processor": model,
        "flags": hashlib.sha256(flags.encode()).hexdigest()[:16],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "num_processors": num_processors(),
        "num_threads": num_threads(),
        "versions": {"striate": __version__, **{name: _version(name) for name in PACKAGES}},
    }


def machine_key(machine: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits that change with any of it."""
    return hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:16]


def may_have_gpu() -> bool:
    """Whether `--device auto` could mean a GPU here; asking torch would take seconds, so this looks for its device
    files.
    """
    if platform.system() != "Linux":
        return True
    return any(os.path.exists(path) for path in ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg"))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
