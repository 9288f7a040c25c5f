"""The decoded dataset: every image once, resized, as uint8 rows of one flat array in memory or mapped from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from striate.errors import DataError, InputError


class PreparedImages(Protocol):
    """N images of C channels, decoded and resized, as feeding and measuring them wants: packed (below), or streamed.

    Safe to read from several threads, and worth `num_readers` of them. `regions` (N,) int64 says which lie together and
    are read faster so; None where it makes no difference.
    """

    @property
    def shapes(self) -> np.ndarray: ...
    @property
    def channels(self) -> int: ...
    @property
    def is_grey(self) -> bool: ...
    @property
    def broken(self) -> Mapping[int, str]: ...
    @property
    def usable(self) -> np.ndarray: ...
    @property
    def num_readers(self) -> int: ...
    @property
    def regions(self) -> np.ndarray | None: ...
    def __len__(self) -> int: ...
    def without(self, excluded: frozenset[int]) -> "PreparedImages":
        """The same images, of which these are not usable either."""
        ...

    def image(self, index: int) -> np.ndarray:
        """Image `index`, (h, w, C) uint8; DataError with the reason where it is broken."""
        ...


@dataclass(frozen=True, eq=False)
class PackedImages:
    """N images of C channels, each with its own height and width; read-only, and safe to read from several threads.

    `pixels` is flat uint8; image i begins at `offsets[i]` and has `shapes[i]` (height, width), channels last. Identical
    images may share their bytes. `broken` names the images that could not be decoded, by index, and why; they have no
    pixels. `is_grey`: no image has any colour, whatever its number of channels. `excluded` are left out as asked.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    shapes: np.ndarray
    channels: int
    is_grey: bool
    broken: Mapping[int, str] = field(default_factory=dict)
    excluded: frozenset[int] = frozenset()

    @classmethod
    def from_images(cls, images: Sequence[np.ndarray]) -> "PackedImages":
        """The pack, in memory, of images (h, w, C) uint8 that need no decoding or resizing."""
        if not images:
            raise InputError("expected at least one image to pack but got none")
        channels = images[0].shape[-1]
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
                raise InputError(
                    "images to pack must be uint8 (h, w, C), all with one C, "
                    f"but there are {images[0].shape} {images[0].dtype} and {image.shape} {image.dtype}"
                )
        shapes = np.array([image.shape[:2] for image in images], np.int64)
        sizes = shapes.prod(axis=1) * channels
        pixels = np.concatenate([image.reshape(-1) for image in images])
        pixels.setflags(write=False)
        return cls(pixels, np.cumsum(sizes) - sizes, shapes, channels, all(map(has_no_color, images)))

    def __len__(self) -> int:
        return len(self.offsets)

    def image(self, index: int) -> np.ndarray:
        """Image `index` as a view (h, w, C) uint8; DataError with the reason where it is broken."""
        if index in self.broken:
            raise DataError(f"image {index} was not packed: it {self.broken[index]}")
        height, width = self.shapes[index]
        start = self.offsets[index]
        return self.pixels[start : start + height * width * self.channels].reshape(height, width, self.channels)

    @cached_property
    def usable(self) -> np.ndarray:
        """(N,) bool: False for the broken ones and those left out."""
        usable = np.ones(len(self), bool)
        usable[[*self.broken, *self.excluded]] = False
        return usable

    def without(self, excluded: frozenset[int]) -> "PackedImages":
        """The same pack, in which these images are not usable either."""
        return replace(self, excluded=self.excluded | excluded)

    @cached_property
    def uniform_shape(self) -> tuple[int, int] | None:
        """The (height, width) that all usable images share, or None."""
        shapes = self.shapes[self.usable]
        if not len(shapes) or (shapes != shapes[0]).any():
            return None
        return int(shapes[0, 0]), int(shapes[0, 1])

    @property
    def num_readers(self) -> int:
        """One: reading takes no time."""
        return 1

    @property
    def regions(self) -> None:
        """None: they lie all together."""

    @property
    def size_bytes(self) -> int:
        """Size of the pixels in bytes, in memory or on disk."""
        return self.pixels.nbytes


def has_no_color(image: np.ndarray) -> bool:
    """Whether an image (h, w, C) has one channel, or three or more that are all equal."""
    if image.shape[2] == 1:
        return True
    middle = image[image.shape[0] // 2]  # most coloured images show it there, and need no look at all their pixels
    return all(bool((part[..., 1:] == part[..., :1]).all()) for part in (middle, image))
