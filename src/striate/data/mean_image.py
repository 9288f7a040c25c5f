"""The mean of all training images, pixel by pixel, as AlexNet subtracts it: an image that fits into a line of JSON."""

import base64
import binascii
import io
from functools import lru_cache

import numpy as np
from PIL import Image

from striate.errors import InputError


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
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as image:
            if (image.height, image.width) == size and image.mode == {1: "L", 3: "RGB"}.get(channels):
                pixels = np.asarray(image).reshape(*size, channels)
                pixels.flags.writeable = False
                return pixels
            found = f"{image.height}x{image.width} pixels in mode {image.mode}"
    except (binascii.Error, ValueError, OSError, SyntaxError):
        found = "no PNG in base64"
    raise InputError(f"the mean image must have {size[0]}x{size[1]} pixels and {channels} channels but is {found}")
