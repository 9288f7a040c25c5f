"""One image from a stranger -> its pixels, or a short reason why not: one policy, wherever an image is read.

EXIF orientation is applied. Transparency is laid over white. Palettes are looked up. 16-bit grey is scaled by
255/65535, never clipped; 32-bit integers within 0..65535 likewise, others from their lowest..highest value to 0..255.
Floating-point grey in [0, 1] is multiplied by 255, within [0, 255] it is rounded, otherwise scaled lowest..highest.
CMYK, YCbCr, HSV and LAB become sRGB by Pillow's formulas (embedded colour profiles are not applied). Grey is ITU-R
BT.601 luma. Of an animation the first frame counts. Truncated files are refused, as are those with more pixels than
the limit; a large baseline JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that brings it under. PostScript is
not read, because reading it means running it.
"""

import codecs
import functools
import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, PngImagePlugin, TiffImagePlugin

from striate.errors import InputError

MAX_PIXELS = 100_000_000
_TEXT_BYTES = 1024
NO_MEMORY = "needs more memory than there is"
_COMMON_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "AVIF", "PPM", "JPEG2000")
_RARE_FORMATS = ("DIB", "ICO", "ICNS", "PCX", "QOI", "SGI", "SUN", "DDS", "PSD", "FLI", "XBM", "XPM", "TGA")
_FORMATS = _COMMON_FORMATS + _RARE_FORMATS  # in the order in which they are tried
_REDUCIBLE = ("JPEG", "MPO")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True)
class ImageFacts:
    """The header of an image before decoding: width and height as it is shown, Pillow's mode, and file format.

    Images that a source holds as pixels have format "pixels" and mode "L", "RGB" or "<C> channels".
    """

    width: int
    height: int
    mode: str
    format: str


def decode_image(data: bytes | np.ndarray, channels: int, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels (H, W, channels) uint8 of an encoded image, or of pixels (H, W) or (H, W, C) uint8, by the policy
    above.

    Encoded images and pixels of 1 or 3 channels come as 1 (grey) or 3 (RGB) channels; pixels of any other number of
    channels only as they are. Raises InputError with a reason that completes "photo.jpg ...": "is empty", "is cut
    off", "has 4 channels, not 3". Safe to call from many threads.
    """
    with _costing_the_image():
        return (
            _match_channels(data, channels)
            if isinstance(data, np.ndarray)
            else _to_pixels(_decode(data, channels, max_pixels))
        )


def decode_picture(
    data: bytes | np.ndarray, channels: int, *, max_pixels: int = MAX_PIXELS
) -> np.ndarray | Image.Image:
    """`decode_image`, but files as Pillow's images of mode "L" or "RGB", which can be resized without being copied."""
    with _costing_the_image():
        return _match_channels(data, channels) if isinstance(data, np.ndarray) else _decode(data, channels, max_pixels)


def image_facts(data: bytes | np.ndarray, *, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Size, mode and format, from the header; InputError like `decode_image` where even that cannot be read.

    A PNG may say only after its pixels that it lies on its side, so it is decoded, and refused where it is too large.
    """
    if isinstance(data, np.ndarray):
        pixels = _checked_pixels(data)
        height, width, num_channels = pixels.shape
        mode = {1: "L", 3: "RGB"}.get(num_channels, f"{num_channels} channels")
        return ImageFacts(width=width, height=height, mode=mode, format="pixels")
    with _costing_the_image(), _strict_pillow:
        image = _open(data)
        if isinstance(image, PngImagePlugin.PngImageFile):
            _check_size(image.size, max_pixels)
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # the one kind whose size may be that after turning
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
        return ImageFacts(width=width, height=height, mode=image.mode, format=image.format or "unknown")


def image_pixels(image: Image.Image, channels: int, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels (H, W, channels) uint8 of a Pillow image, by the same policy; `channels` is 1 or 3.

    Raises InputError like `decode_image`.
    """
    with _costing_the_image():
        return _to_pixels(_plain(image, channels, max_pixels))


@contextmanager
def opened_as_stored(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Pillow's image of a file, neither turned nor converted, only its header read: for files whose numbers are no
    colours.

    Whatever goes wrong inside the block with a damaged file is an InputError like those of `decode_image`.
    """
    with _costing_the_image(), _strict_pillow:
        image = _open(data)
        _check_size(image.size, max_pixels)
        try:
            yield image
        except InputError:
            raise
        except Exception as error:  # Pillow's readers raise nearly anything on damaged files
            raise InputError(_damage(error)) from error


def stored_orientation(data: bytes) -> int:
    """The EXIF orientation of an encoded image, 1 to 8; 1 where it has none or cannot be read."""
    try:
        with opened_as_stored(data) as image:
            return _orientation(image)
    except InputError:
        return 1


@contextmanager
def _costing_the_image() -> Iterator[None]:
    """Too little memory for an image costs that image, like any other reason."""
    try:
        yield
    except MemoryError as error:
        raise InputError(_damage(error)) from error


@functools.cache
def image_suffixes() -> frozenset[str]:
    """The endings of file names, in lower case with the dot, that stand for images striate can read."""
    Image.init()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in _FORMATS)


class _StrictPillow:
    """While any thread is inside, Pillow neither warns nor accepts cut-off files; the last one out puts things back.

    Both are settings of the whole process, which Pillow does not offer for one call. `warnings.catch_warnings` would
    not do: threads that leave it in another order than they entered restore each other's filters.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._accepted_cut_off = False
        self._changed: list[Any] = []  # the lists of filters that got ours; `catch_warnings` changes lists

    def __enter__(self) -> None:
        with self._lock:
            if self._num_inside == 0:
                self._accepted_cut_off = ImageFile.LOAD_TRUNCATED_IMAGES
            self._num_inside += 1
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            if _NO_WARNING not in warnings.filters:
                warnings.filterwarnings("ignore", module=_NO_WARNING[3].pattern)
                self._changed.append(warnings.filters)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._accepted_cut_off
                for filters in (*self._changed, warnings.filters):
                    while _NO_WARNING in filters:
                        filters.remove(_NO_WARNING)
                self._changed.clear()


# as `warnings.filterwarnings` writes it; the comment in the pattern tells it from a filter of the user's
_NO_WARNING = ("ignore", None, Warning, re.compile(r"PIL\.(?#while striate decodes)"), 0)
_strict_pillow = _StrictPillow()


def _decode(data: bytes, channels: int, max_pixels: int) -> Image.Image:
    """The image of a file in mode "L" or "RGB", the right way up."""
    with _strict_pillow:
        image = _open(data)
        _fit_under(image, data, max_pixels)
        return _plain(image, channels, max_pixels)


def _plain(image: Image.Image, channels: int, max_pixels: int) -> Image.Image:
    if channels not in (1, 3):
        raise InputError(f"gives 1 or 3 channels, not {channels}")
    with _strict_pillow:
        try:
            image.load()
            _check_size(image.size, max_pixels)  # an icon's header may promise less than it holds
            plain = _flatten(image).convert("L" if channels == 1 else "RGB")
            turn = _TURNS.get(_orientation(image))
            return plain if turn is None else plain.transpose(turn)
        except InputError:
            raise
        except Exception as error:  # Pillow's readers raise nearly anything on damaged files
            raise InputError(_damage(error)) from error


def _to_pixels(image: Image.Image) -> np.ndarray:
    """(H, W, C) uint8, a copy that may be written to."""
    return np.array(image).reshape(image.height, image.width, len(image.getbands()))


def _open(data: bytes) -> ImageFile.ImageFile:
    """Pillow's image with only its header read. Not `Image.open`: its limit on pixels is the whole process's."""
    if not data:
        raise InputError("is empty")
    Image.init()
    prefix = data[:16]
    damage: Exception | None = None
    for name in _FORMATS:
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        try:
            accepted = accept is None or accept(prefix)  # a string says that Pillow was built without the format
            if accepted and not isinstance(accepted, str):
                return factory(io.BytesIO(data), b"")
        except Exception as error:  # as for decoding
            if accept is not None and damage is None:
                damage = error
    if is_text(data[:_TEXT_BYTES]) and not data.startswith(b"%!"):  # PostScript is an image, but none that is read here
        raise InputError("is not an image but text")
    if damage is not None:
        raise InputError(_damage(damage)) from damage
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        raise InputError("is a HEIC photo, which cannot be read; convert it to JPEG")
    raise InputError("is not an image that can be read")


def is_text(beginning: bytes) -> bool:
    """Whether a file that begins so is text: a web page or a note under an image's name."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(beginning)
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and all(char.isprintable() or char in "\n\r\t\f" for char in text)


def _damage(error: Exception) -> str:
    """The reason in words for what a reader raised."""
    if isinstance(error, MemoryError):
        return NO_MEMORY
    text = str(error).lower()
    signs = ("truncated", "not enough", "incomplete", "unexpected end", "buffer is not large", "eof")
    if isinstance(error, EOFError | struct.error | IndexError) or any(sign in text for sign in signs):
        return "is cut off"
    lines = str(error).splitlines()
    return f"is damaged ({lines[0][:100]})" if lines else f"is damaged ({type(error).__name__})"


def _fit_under(image: ImageFile.ImageFile, data: bytes, max_pixels: int) -> None:
    """Ask for a JPEG above the limit at a fraction of its size; InputError when no image within the limit can be
    had.
    """
    width, height = image.size
    if width * height > max_pixels and image.format in _REDUCIBLE and _is_one_scan(data):
        for fraction in (2, 4, 8):
            if -(-width // fraction) * -(-height // fraction) <= max_pixels:
                image.draft(None, (width // fraction, height // fraction))
                return
    _check_size(image.size, max_pixels)


def _is_one_scan(jpeg: bytes) -> bool:
    """Whether a JPEG is decoded row by row; one in several scans, such as a progressive one, is held in memory
    whole.
    """
    place, num_components = 2, b""
    while jpeg[place : place + 1] == b"\xff":
        marker = jpeg[place + 1 : place + 2]
        if marker in (b"\xc0", b"\xc1"):  # the header of a frame that is not progressive
            num_components = jpeg[place + 9 : place + 10]
        if marker == b"\xda":  # the header of the first scan
            return jpeg[place + 4 : place + 5] == num_components
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    return False


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InputError(f"has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise InputError(f"has {width}x{height} pixels, over the limit of {max_pixels}")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; 1 where there is none. Damaged EXIF data are no reason to lose the image."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as for decoding: damaged EXIF data raise nearly anything
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _flatten(image: Image.Image) -> Image.Image:
    """The image as it looks on white paper, in mode "L" or "RGB"."""
    if image.mode.startswith(("I", "F")):
        return _flatten_deep(image)
    if image.has_transparency_data:
        return _over_white(image)
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    """Mode "L" for grey, "RGB" for colour."""
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    transparent = image.convert("RGBA")
    paper = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(paper, transparent).convert("RGB")
    return flat.convert("L") if image.mode in ("1", "L", "LA") else flat


def _flatten_deep(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, integer or floating point -> mode "L"."""
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        values = values.astype(np.uint16)
    grey = Image.fromarray(_to_bytes(values))
    transparent = image.info.get("transparency")  # of a 16-bit PNG: the value that is to be seen through
    if isinstance(transparent, int):
        grey.paste(255, mask=Image.fromarray(values == transparent))
    return grey


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Numbers of any range and kind -> uint8, by the policy at the top."""
    if values.dtype == np.uint16:
        low, high = 0.0, 65535.0
    else:
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError("has values that are not finite numbers")
        for top in (65535.0,) if values.dtype.kind == "i" else (1.0, 255.0):
            if low >= 0 and high <= top:
                low, high = 0.0, top
                break
    span = high - low or 1.0
    return np.rint((values.astype(np.float64) - low) * 255 / span).astype(np.uint8)


def _checked_pixels(pixels: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) uint8 -> (H, W, C); InputError for anything else."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise InputError(f"is an array {pixels.shape} of {pixels.dtype}, not pixels (H, W, C) of uint8")
    if pixels.size == 0:
        raise InputError(f"has no pixels {pixels.shape}")
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _match_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pixels with the number of channels asked for: as they are (not a copy), grey repeated, or RGB turned to grey."""
    pixels = _checked_pixels(pixels)
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if (found, channels) == (1, 3):
        return np.repeat(pixels, 3, axis=2)
    if (found, channels) == (3, 1):
        return np.array(Image.fromarray(np.ascontiguousarray(pixels)).convert("L"))[..., None]
    raise InputError(f"has {found} channels, not {channels}")
