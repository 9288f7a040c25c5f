"""Images made worse in ways that happen: noise, blur, weather, digital damage, and small movements. H x W pixels, C
channels.

The fifteen corruptions in five severities of Hendrycks & Dietterich 2019 (arXiv:1903.12261) come from the package
imagecorruptions-imaug (extra `corruptions`), which holds their authors' code; here every draw is made by a seed.
Shifts, rotations and scales are ours: bilinear, what comes in from outside being the reflected image.
"""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from striate.data.preprocessing import resample
from striate.errors import InputError

GROUPS: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "movement": ("shift", "rotation", "scale"),
}
CORRUPTIONS = tuple(name for names in GROUPS.values() for name in names)
SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST_PX = 32
"""Smaller images are enlarged to this side for the fifteen, and reduced again."""
_SHIFTS = (0.02, 0.05, 0.1, 0.15, 0.2)  # of the side
_DEGREES = (5, 10, 15, 25, 40)
_FACTORS = (1.05, 1.1, 1.2, 1.35, 1.5)
_SEEDED = ("impulse_noise", "glass_blur")  # draw from a generator of their own
_MISSING = (
    "this needs the package imagecorruptions-imaug: pip install 'striate[corruptions]'; shift, rotation and scale do "
    "not"
)


def corrupt(image: np.ndarray, name: str, severity: int, *, seed: int = 0) -> np.ndarray:
    """The image (H, W, C) uint8, C being 1 or 3, corrupted: same shape and type. Equal seeds draw equal noise.

    InputError for a name that is none of CORRUPTIONS, a severity outside 1..5, other channels, or a package that is not
    installed.
    """
    if name not in CORRUPTIONS:
        raise InputError(f"corruptions are {', '.join(CORRUPTIONS)} but not {name!r}")
    if severity not in SEVERITIES:
        raise InputError(f"severity must be one of 1 to 5 but is {severity}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise InputError(f"images to corrupt must be uint8 (H, W, 1 or 3) but are {image.dtype} {image.shape}")
    if name in GROUPS["movement"]:
        return _moved(image, name, severity, seed)
    height, width, channels = image.shape
    factor = max(1.0, SMALLEST_PX / min(height, width))
    size = (round(height * factor), round(width * factor))
    enlarged = image if factor == 1 else resample(image, size, "bilinear")
    found = _by_package(np.repeat(enlarged, 3, axis=2) if channels == 1 else enlarged, name, severity, seed)
    if channels == 1:
        found = found.mean(axis=2, keepdims=True).round().astype(np.uint8)
    return found if factor == 1 else resample(found, (height, width), "bilinear")


def check_corruptions(names: tuple[str, ...]) -> None:
    """Raise InputError unless all are known and what they need is installed."""
    if unknown := [name for name in names if name not in CORRUPTIONS]:
        raise InputError(f"corruptions are {', '.join(CORRUPTIONS)} but not {unknown[0]!r}")
    if any(name not in GROUPS["movement"] for name in names):
        _package()


def _by_package(image: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """(H, W, 3) uint8 of at least 32 pixels a side -> the same, by imagecorruptions."""
    package = _package()
    extra = {"seed": seed} if name in _SEEDED else {}
    with _drawing_by(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries it uses
        result: np.ndarray = package.corrupt(image, severity=severity, corruption_name=name, **extra)
    return result


def _package() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("imagecorruptions")
    except ImportError:
        raise InputError(_MISSING) from None


@contextmanager
def _drawing_by(seed: int) -> Iterator[None]:
    """numpy's global generator, from which the package draws, set by a seed and put back."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _moved(image: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """Shifted in a direction drawn by the seed, turned to one of two sides, or made larger or smaller."""
    height, width = image.shape[:2]
    draw = np.random.default_rng([seed, severity])
    sign, angle = draw.choice((-1.0, 1.0)), draw.uniform(0, 2 * np.pi)
    turn, zoom, down, right = 0.0, 1.0, 0.0, 0.0
    if name == "shift":
        reach = _SHIFTS[severity - 1]
        down, right = reach * height * np.sin(angle), reach * width * np.cos(angle)
    elif name == "rotation":
        turn = sign * np.deg2rad(_DEGREES[severity - 1])
    else:
        zoom = _FACTORS[severity - 1] ** sign
    pad = int(np.ceil(0.75 * max(height, width)))
    rows = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
    cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
    middle_x, middle_y = width / 2, height / 2  # Pillow maps the centres of pixels of the result into the source
    matrix = (
        cos, sin, pad + middle_x - right - cos * middle_x - sin * middle_y,
        -sin, cos, pad + middle_y - down + sin * middle_x - cos * middle_y,
    )  # fmt: skip
    planes = [
        Image.fromarray(rows[..., c]).transform(
            (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
        for c in range(image.shape[2])
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)
