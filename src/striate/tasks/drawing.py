"""Boxes and names drawn on pictures, in colours that differ also without colour vision. Nothing here imports torch."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ANSWER, TRUTH = (230, 97, 0), (26, 133, 255)
"""Orange for what a model says, blue for what is so."""
CLASS_COLORS = (
    ANSWER, (0, 158, 115), (204, 121, 167), (240, 180, 0), (86, 60, 180), (200, 30, 30), (0, 190, 220), (120, 90, 40),
)  # fmt: skip
"""For what a model says of several classes, told apart also without colour vision (after Okabe & Ito)."""


def draw_box(pixels: np.ndarray, box_xyxy: Sequence[float], color: tuple[int, int, int], words: str = "") -> np.ndarray:
    """A box (x1, y1, x2, y2) in pixels, with words at its upper left corner, on pixels (H, W, C) uint8: (H, W, 3)
    uint8.
    """
    picture = Image.fromarray(as_rgb(pixels))
    brush = ImageDraw.Draw(picture)
    height, width = pixels.shape[:2]
    line_px = max(1, round(min(height, width) / 120))
    x1, y1, x2, y2 = box_xyxy
    corners = (x1, y1, max(x1, x2 - 1), max(y1, y2 - 1))  # the last pixel inside
    brush.rectangle(corners, outline=color, width=line_px)
    if words:
        font = ImageFont.load_default(size=max(10, round(min(height, width) / 28)))
        left, top, right, bottom = brush.textbbox((0, 0), words, font=font)
        text_width, text_height = right - left + 6, bottom - top + 6
        x = min(max(0, x1), max(0, width - text_width))
        y = y1 - text_height if y1 >= text_height else min(y1, height - text_height)
        brush.rectangle((x, y, x + text_width, y + text_height), fill=color)
        brush.text((x + 3 - left, y + 3 - top), words, fill=(255, 255, 255), font=font)
    return np.asarray(picture)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W, C) uint8 as colour (H, W, 3); of other than three channels the first, as grey."""
    return np.ascontiguousarray(pixels if pixels.shape[2] == 3 else np.repeat(pixels[..., :1], 3, axis=2))
