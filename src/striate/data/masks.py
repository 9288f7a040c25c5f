"""Masks: the class of every pixel of an image, from files that hold class numbers, a palette or colours.

H x W pixels of an image as it is shown. IGNORED stands for pixels that count in no loss and no figure.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from striate.data.decoding import MAX_PIXELS, opened_as_stored
from striate.data.readers.access import FileImages
from striate.errors import InputError

IGNORED = 255
MAX_CLASSES = 254
Kind = Literal["index", "color", "instances"]


@dataclass(frozen=True)
class MaskCodes:
    """Which value of a mask is which class: `classes` are (value, class) pairs, several values may share a class.

    `kind` "index": values are numbers of a grey image or of a palette; "color": 65536 R + 256 G + B; "instances": 0 is
    class 0 and every other value an object, class 1. `ignored` are values to leave out without a word; any other value
    that no class has is left out too, and counted.
    """

    kind: Kind
    classes: tuple[tuple[int, int], ...]
    ignored: tuple[int, ...] = ()

    def classes_of(self, values: np.ndarray) -> tuple[np.ndarray, dict[int, int]]:
        """Values (H, W) int -> classes (H, W) uint8 with IGNORED, and how many pixels had each undeclared value."""
        if self.kind == "instances":
            return (values > 0).astype(np.uint8), {}
        known = {
            **dict.fromkeys(self.ignored, IGNORED),
            **{value: k for value, k in self.classes if value not in self.ignored},
        }
        present, inverse = np.unique(values, return_inverse=True)
        table = np.array([known.get(int(value), IGNORED) for value in present], np.uint8)
        undeclared = [place for place, value in enumerate(present.tolist()) if value not in known]
        counts = np.bincount(inverse.reshape(-1), minlength=len(present)) if undeclared else np.zeros(len(present), int)
        return table[inverse].reshape(values.shape), {int(present[place]): int(counts[place]) for place in undeclared}

    def digest(self) -> bytes:
        """Bytes that change with any of it."""
        return hashlib.blake2b(repr((self.kind, self.classes, self.ignored)).encode(), digest_size=16).digest()


@dataclass(frozen=True, eq=False)
class Masks:
    """The mask files of N images, in their order, and what their values mean.

    `turns` (N,) int8 is the EXIF orientation (1 to 8) of images whose masks were drawn on the pixels as they are
    stored: such a mask is turned as its image is; 1 for all others. `sizes` (N, 2) are the images' (height, width).
    """

    files: FileImages
    codes: MaskCodes
    turns: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> tuple[np.ndarray, dict[int, int]]:
        """Classes (H, W) uint8 of one image, and its undeclared values as `MaskCodes.classes_of` counts them.

        InputError with a reason that completes "mask.png ..."; OSError where the file cannot be read.
        """
        values = mask_values(self.files.read(index), as_color=self.codes.kind == "color")
        turned = turn(values, int(self.turns[index]))
        if turned.shape != tuple(self.sizes[index]):
            (height, width), (wanted_height, wanted_width) = turned.shape, self.sizes[index]
            raise InputError(f"has {width} x {height} pixels but its image {wanted_width} x {wanted_height}")
        return self.codes.classes_of(turned)

    def digest(self) -> str:
        """32 hexadecimal digits of all mask files and of what their values mean."""
        digest = hashlib.blake2b(self.codes.digest(), digest_size=16)
        digest.update(np.ascontiguousarray(self.turns, np.int8).data)
        for index in range(len(self)):
            try:
                digest.update(hashlib.blake2b(self.files.read(index), digest_size=16).digest())
            except OSError:
                digest.update(bytes(16))
        return digest.hexdigest()


def mask_values(data: bytes, *, as_color: bool, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The values (H, W) int32 of an encoded mask, not turned: numbers, or with `as_color` 65536 R + 256 G + B.

    A palette's numbers are its values, not its colours, unless colours are asked for. A colour image whose channels are
    equal may stand for a grey one. InputError with a reason that completes "mask.png ...".
    """
    with opened_as_stored(data, max_pixels=max_pixels) as image:
        _check_lossless(image.format)
        image.load()
        if image.mode in ("RGBA", "LA", "PA"):
            image = image.convert({"RGBA": "RGB", "LA": "L", "PA": "P"}[image.mode])
        if as_color:
            image = image.convert("RGB")
        pixels = np.asarray(image)
    if pixels.ndim == 2:
        if pixels.dtype.kind == "f":
            raise InputError("holds fractions where class numbers should be; save it as whole numbers")
        return pixels.astype(np.int32)
    if as_color:
        red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
        return (red << 16) | (green << 8) | blue
    if not (pixels[..., :1] == pixels).all():
        raise InputError(
            "is in colour where class numbers are expected; list the colours in classes.csv: index,name,r,g,b"
        )
    return np.asarray(pixels[..., 0], np.int32)


def mask_facts(data: bytes) -> tuple[tuple[int, int], str]:
    """(height, width) as it is stored and Pillow's mode of an encoded mask; InputError as `mask_values`."""
    with opened_as_stored(data) as image:
        _check_lossless(image.format)
        return (image.height, image.width), image.mode


def turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """Values (H, W) turned as an image of this EXIF orientation is turned to be shown."""
    change = _TURNS.get(orientation)
    return values if change is None else np.ascontiguousarray(change(values))


_TURNS: Mapping[int, Any] = {
    2: lambda v: v[:, ::-1],
    3: lambda v: v[::-1, ::-1],
    4: lambda v: v[::-1],
    5: lambda v: v.T,
    6: lambda v: np.rot90(v, -1),
    7: lambda v: v[::-1, ::-1].T,
    8: lambda v: np.rot90(v, 1),
}


def nearest_places(length: int, resized_length: int) -> np.ndarray:
    """For each pixel of a resized side the nearest one of the original, centres being half a pixel in:
    (resized_length,) int64.
    """
    places = np.floor((np.arange(resized_length) + 0.5) * (length / resized_length)).astype(np.int64)
    result: np.ndarray = np.minimum(places, length - 1)
    return result


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask (H, W) at (height, width) = `size`, each pixel with the class of the nearest one."""
    if mask.shape == size:
        return mask
    return mask[nearest_places(mask.shape[0], size[0])][:, nearest_places(mask.shape[1], size[1])]


def _check_lossless(image_format: str | None) -> None:
    if image_format in ("JPEG", "MPO", "WEBP", "AVIF", "JPEG2000"):
        raise InputError(f"is a {image_format}, whose losses change class numbers; save masks as PNG")
