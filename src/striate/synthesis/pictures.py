"""Pictures in and out: read by the policy of data.decoding, resized, rounded to 8 bits, written as PNG, laid out on a
sheet.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from striate.data.cache import write_atomically
from striate.data.decoding import decode_image
from striate.errors import InputError

MAX_SIDE_PX = 8192
_LARGEST_FILE_BYTES = 2**30
_GAP_PX = 4


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A finished picture: pixels (H, W, C) uint8, the value of the loss after each step, whether it was stopped
    early.
    """

    pixels: np.ndarray
    losses: tuple[float, ...]
    was_stopped: bool = False


def read_picture(
    path: str | Path, *, channels: int = 3, size: int | tuple[int, int] | None = None, largest: bool = False
) -> np.ndarray:
    """The pixels (H, W, channels) uint8 of an image file; of an animation, the first frame.

    `size` resizes: a pair to (height, width), a number to that many pixels of the short side, or of the long one with
    `largest`, the aspect kept. Raises InputError, naming the file, where it cannot be read.
    """
    try:
        if Path(path).stat().st_size > _LARGEST_FILE_BYTES:
            raise InputError("is larger than 1 GiB")
        pixels = decode_image(Path(path).read_bytes(), channels)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; name an image file") from None
    except InputError as error:
        raise InputError(f"{path} {error}; name another image") from None
    if size is None:
        return pixels
    if isinstance(size, int):
        scale = size / (max if largest else min)(pixels.shape[:2])
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        size = height, width
    return resize_pixels(pixels, size)


def resize_pixels(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W, C) uint8 -> (height, width, C) uint8, by Lanczos's filter, antialiased."""
    if pixels.shape[:2] == size:
        return pixels
    image = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
    resized = np.array(image.resize(size[::-1], Image.Resampling.LANCZOS))
    return resized.reshape(*size, pixels.shape[2])


def to_images(pixels: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Pixels (H, W, C) uint8 -> images (1, C, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(pixels, order="C")).to(device).permute(2, 0, 1)[None].float() / 255


def to_pixels(images: Tensor) -> np.ndarray:
    """The first of images (N, C, H, W) float -> pixels (H, W, C) uint8, cut to [0, 1] and rounded."""
    pixels = (images.detach()[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).cpu().contiguous().numpy()


def write_png(path: str | Path, pixels: np.ndarray) -> Path:
    """Write pixels (H, W, 1 or 3) uint8 as a PNG, whole or not at all. InputError where the disk or the path
    refuses.
    """
    file = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(file, format="PNG")
    try:
        write_atomically(Path(path), file.getvalue())
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}; name another file with --out") from None
    return Path(path)


def sheet(pictures: Sequence[np.ndarray], columns: int | None = None) -> np.ndarray:
    """Pictures (H, W, C) uint8 side by side on white, in rows of `columns`; smaller ones stand at the top left of their
    cell.
    """
    if not pictures:
        raise InputError("a sheet needs at least one picture")
    columns = columns or len(pictures)
    height, width = (max(picture.shape[side] for picture in pictures) for side in (0, 1))
    rows = -(-len(pictures) // columns)
    shape = (rows * (height + _GAP_PX) - _GAP_PX, columns * (width + _GAP_PX) - _GAP_PX, 3)
    page = np.full(shape, 255, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (place // columns) * (height + _GAP_PX), (place % columns) * (width + _GAP_PX)
        page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return page


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) as it is, or InputError where a side is below 1 or above MAX_SIDE_PX pixels."""
    if not all(1 <= side <= MAX_SIDE_PX for side in size):
        raise InputError(
            f"a picture of {size[0]}x{size[1]} pixels was asked for; each side must be 1 to {MAX_SIDE_PX} pixels"
        )
    return size
