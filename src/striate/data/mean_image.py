"""The mean of all training images, pixel by pixel, as AlexNet subtracts it: an image that fits into a line of JSON."""

import base64
import binascii
import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image

from striate.errors import InputError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADERS_BYTES = 10_000


def encode_mean_image(image: np.ndarray) -> str:
    """Pixels (H, W, C) uint8, C being 1 or 3 -> the same as PNG in base64."""
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8:
        raise InputError(
            f"a mean image is (H, W, 1) or (H, W, 3) of uint8 but this is {image.shape} of {image.dtype}; "
            "subtract a mean for each channel instead"
        )
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


@lru_cache(maxsize=8)
def decode_mean_image(text: str, size: tuple[int, int], channels: int) -> np.ndarray:
    """The inverse: pixels (H, W, C) uint8, read-only. InputError unless it is a PNG of `size` (height, width) and C."""
    found = "no PNG in base64"
    if len(text) > _most_text(size, channels):  # before it is unpacked, and before pixels are
        found = f"{len(text):,} characters long, which no PNG of that size needs"
    else:
        try:
            data = base64.b64decode(text, validate=True)
            claimed = struct.unpack(">II", data[16:24]) if data[:8] == _SIGNATURE and len(data) > 24 else None
            if claimed is not None and claimed != size[::-1]:
                found = f"{claimed[1]}x{claimed[0]} pixels"
            elif claimed is not None:
                with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                    if image.mode == {1: "L", 3: "RGB"}.get(channels):
                        pixels = np.asarray(image).reshape(*size, channels)
                        pixels.flags.writeable = False
                        return pixels
                    found = f"{image.height}x{image.width} pixels in mode {image.mode}"
        except (binascii.Error, ValueError, OSError, SyntaxError, Image.DecompressionBombError):
            pass
    raise InputError(f"the mean image must have {size[0]}x{size[1]} pixels and {channels} channels but is {found}")


def _most_text(size: tuple[int, int], channels: int) -> int:
    """How many characters of base64 a PNG of such pixels can need: all its bytes as they are, a filter's byte a row,
    headers.
    """
    num_bytes = size[0] * (size[1] * channels + 1)
    return (num_bytes + num_bytes // 100 + _HEADERS_BYTES) * 4 // 3 + 4
