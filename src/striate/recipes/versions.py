"""The versions of what computes a run, for its record."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from striate.version import __version__

PACKAGES = ("torch", "torchvision", "lightning-fabric", "numpy", "pillow", "safetensors")


def installed_versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The versions of striate, Python and these packages, by name; "none" for one that is not installed."""
    names = [name for name in packages if name not in ("python", "striate")]
    return {
        "striate": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in names},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
