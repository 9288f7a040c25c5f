"""All that the checks keep of an image: 32 x 32 grey pixels, a few figures, and how its file was made."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from striate.data.decoding import ImageFacts, opened_as_stored
from striate.errors import InputError

SIDE = 32
_SHARPNESS_PX = 256
_CAMERA = (271, 272)  # EXIF: make and model
_LONGEST_CAMERA = 60


@dataclass(frozen=True)
class ImageStatistics:
    """`grey` (32, 32) uint8, the whole image stretched; `mean` (3,) of red, green and blue, `spread` and `sharpness` of
    grey, all in 0..255: the standard deviation, and that of the Laplacian with the longer side at 256 pixels. `dark`
    and `bright` are fractions of the pixels below 16 and above 239. `border` is the mean grey of the outermost pixels.
    `quality` is the mean of a JPEG's quantisation table, 0 for others.
    """

    facts: ImageFacts
    grey: np.ndarray
    mean: tuple[float, float, float]
    spread: float
    sharpness: float
    dark: float
    bright: float
    border: float
    size_bytes: int
    quality: float
    camera: str


def image_statistics(data: bytes | np.ndarray, picture: np.ndarray | Image.Image, facts: ImageFacts) -> ImageStatistics:
    """The statistics of an image, from its file and its decoded pixels."""
    image = picture if isinstance(picture, Image.Image) else _as_image(picture)
    small = image.convert("RGB")
    small.thumbnail((_SHARPNESS_PX, _SHARPNESS_PX), Image.Resampling.BOX, reducing_gap=2.0)
    grey = np.asarray(small.convert("L"), np.float32)
    colors = np.asarray(small, np.float32).reshape(-1, 3).mean(axis=0)
    edges = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    tiny = small.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    quality, camera = (0.0, "") if isinstance(data, np.ndarray) else _made_by(data)
    return ImageStatistics(
        facts=facts,
        grey=np.asarray(tiny, np.uint8),
        mean=(float(colors[0]), float(colors[1]), float(colors[2])),
        spread=float(grey.std()),
        sharpness=_sharpness(grey),
        dark=float((grey < 16).mean()),
        bright=float((grey > 239).mean()),
        border=float(edges.mean()),
        size_bytes=data.nbytes if isinstance(data, np.ndarray) else len(data),
        quality=quality,
        camera=camera,
    )


def name_pattern(name: str) -> str:
    """A file's name without its folder and what counts: digits as 9, runs of them as one, and so on: "IMG_0012.jpg" ->
    "IMG_9.jpg".
    """
    return re.sub(r"\d+", "9", PurePosixPath(name.replace("\\", "/")).name)


def _as_image(pixels: np.ndarray) -> Image.Image:
    """Pixels (H, W) or (H, W, C) uint8 as an image of one or three channels."""
    if pixels.ndim == 3 and pixels.shape[2] != 3:
        pixels = pixels[..., 0]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _sharpness(grey: np.ndarray) -> float:
    """The standard deviation of the Laplacian; 0 for fewer than 3 pixels either way."""
    if min(grey.shape) < 3:
        return 0.0
    middle = grey[1:-1, 1:-1]
    return float((grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle).std())


def _made_by(data: bytes) -> tuple[float, str]:
    """The mean of a JPEG's first quantisation table, and the camera that EXIF names."""
    try:
        with opened_as_stored(data) as image:
            tables = getattr(image, "quantization", None) or {}
            exif = image.getexif()
    except InputError:
        return 0.0, ""
    quality = float(np.mean(list(tables[0]))) if 0 in tables else 0.0
    camera = " ".join(str(exif[tag]).strip("\0 ") for tag in _CAMERA if tag in exif)
    return quality, camera[:_LONGEST_CAMERA]
