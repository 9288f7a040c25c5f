"""Small pictures inside a page."""

import base64
import io

import numpy as np
from PIL import Image


def jpeg_address(pixels: np.ndarray) -> str:
    """An image (h, w, 3) uint8 as the address of a JPEG."""
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(data, "jpeg", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
