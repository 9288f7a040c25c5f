"""Maps as pictures: laid over what the network saw, and many of them on one sheet. H x W pixels."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from striate.canvas import matplotlib

_SMALLEST_PX = 224
_BRIGHTEST = 99.5  # percentile of a map that gets the strongest colour: a few extreme pixels would leave the rest dark
_GAP_PX, _LINE_PX, _FONT_PX = 8, 18, 13
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


def overlay(pixels: np.ndarray, plane: np.ndarray, *, is_signed: bool = False) -> np.ndarray:
    """A map (h, w) over the image (H, W, C) uint8 that it explains -> (H', W', 3) uint8, small images enlarged to 224
    pixels.

    Strength is relative to the map's own range: 99.5 % of its values lie below the strongest colour. Signed maps are
    red for the class and blue against it. A map of zeros leaves the image grey.
    """
    image = enlarged(as_rgb(pixels))
    height, width = image.shape[:2]
    plane = np.nan_to_num(np.asarray(plane, np.float32))
    smooth = np.asarray(Image.fromarray(plane).resize((width, height), _filter(plane, image)))
    strongest = np.percentile(np.abs(plane), _BRIGHTEST) or np.abs(plane).max() or 1.0
    strength = np.clip(smooth / strongest, -1 if is_signed else 0, 1)
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    colours = matplotlib.colormaps["RdBu_r" if is_signed else "inferno"]((strength + 1) / 2 if is_signed else strength)
    opacity = 0.85 * np.sqrt(np.abs(strength))[..., None]
    mixed = (1 - opacity) * grey + opacity * 255 * colours[..., :3]
    return np.clip(mixed, 0, 255).astype(np.uint8)


def _filter(plane: np.ndarray, image: np.ndarray) -> Image.Resampling:
    """Coarse maps are smoothed; those as fine as the image are enlarged with it, pixel by pixel."""
    is_fine = image.shape[0] % plane.shape[0] == 0 and plane.shape[0] * 8 > image.shape[0] and plane.shape[0] > 32
    return Image.Resampling.NEAREST if is_fine else Image.Resampling.BILINEAR


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W, C) uint8 as (H, W, 3): the first channel as grey unless there are three."""
    return pixels if pixels.shape[2] == 3 else pixels[..., :1].repeat(3, axis=2)


def enlarged(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) whose pixels are repeated until its longer side has some 224, where it is smaller."""
    factor = max(1, _SMALLEST_PX // max(image.shape[:2]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def sheet(rows: Sequence[Sequence[tuple[str, np.ndarray]]], title: str = "") -> Image.Image:
    """Pictures (H, W, 3) uint8 in rows, each with its caption below, at most two lines of it."""
    width = max(picture.shape[1] for row in rows for _, picture in row)
    height = max(picture.shape[0] for row in rows for _, picture in row)
    num_columns = max(len(row) for row in rows)
    top = _LINE_PX + _GAP_PX if title else 0
    cell = height + 2 * _LINE_PX + _GAP_PX
    page = Image.new("RGB", (num_columns * (width + _GAP_PX) + _GAP_PX, top + len(rows) * cell + _GAP_PX), _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(_FONT_PX)
    draw.text((_GAP_PX, _GAP_PX // 2), shortened(title, page.width - 2 * _GAP_PX, font), _INK, font)
    for number, row in enumerate(rows):
        for column, (caption, picture) in enumerate(row):
            left, upper = _GAP_PX + column * (width + _GAP_PX), top + _GAP_PX + number * cell
            page.paste(Image.fromarray(picture), (left, upper))
            for line, text in enumerate(caption.split("\n")[:2]):
                place = (left, upper + height + line * _LINE_PX)
                draw.text(place, shortened(text, width, font), _INK, font)
    return page


def shortened(text: str, width: int, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    """The text, cut off with an ellipsis where it is wider than `width` pixels."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
