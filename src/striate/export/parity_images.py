"""Images for the parity check of an exported model: the user's own or built-in photos and digits, in batches of 1, 2
and 5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from striate.data.decoding import decode_image
from striate.data.opening import Access
from striate.data.preprocessing import Preprocessing, resample
from striate.data.readers.access import FileImages
from striate.data.readers.folder_walk import Findings, is_image, walk_files
from striate.data.readers.sources import open_source
from striate.errors import DataError, InputError

BATCH_SIZES = (1, 2, 5)
NUM_IMAGES = 20
_NAMED = 3
_CROPS = (
    (0, 0, 427, 640),
    (20, 30, 224, 224),
    (0, 200, 427, 150),
    (150, 0, 160, 640),
    (100, 300, 97, 131),
    (200, 260, 64, 64),
)
"""Parts of the two photos, as top, left, height, width: whole, square, tall, wide, odd and small."""
_NUM_DIGITS = 8


@dataclass(frozen=True, eq=False)
class ParityBatch:
    """Images (N, H, W, C) uint8 of one size; `is_resized` says that the model's own resizing changes them."""

    images: np.ndarray
    is_resized: bool


def built_in_images(channels: int) -> list[np.ndarray]:
    """Real images (H, W, channels) uint8 that come with scikit-learn: parts of two photos, and handwritten digits."""
    from sklearn.datasets import load_digits, load_sample_images

    photos = load_sample_images().images
    crops = [photo[top : top + h, left : left + w] for photo in photos for top, left, h, w in _CROPS]
    digits = [np.uint8(np.round(digit * (255 / 16))) for digit in load_digits().images[:_NUM_DIGITS]]
    return [_with_channels(image, channels) for image in (*crops, *digits)]


def source_images(source: str | Path, channels: int, *, num_images: int, access: Access) -> list[np.ndarray]:
    """Up to `num_images` images (H, W, channels) uint8, evenly spread over an image file, a folder or a source.

    A folder may hold images at any depth. Unreadable images are told and passed over. Raises InputError where there is
    none that can be read, DataError where `source` names nothing.
    """
    images, broken = [], []
    for name, read in _find(source, num_images, access):
        try:
            images.append(decode_image(read(), channels, max_pixels=access.max_pixels))
        except InputError as error:
            broken.append(f"{name} {error}")
        except OSError as error:
            broken.append(f"{name} cannot be opened: {error.strerror or error}")
    if broken:
        plural = "" if len(broken) == 1 else "s"
        access.log(f"left out {len(broken)} unreadable image{plural}: {'; '.join(broken[:_NAMED])}")
    if not images:
        raise InputError(
            f"{source} holds no image that can be read; name a folder with images, or leave it out for built-in ones"
        )
    return images


def parity_batches(images: list[np.ndarray], preprocessing: Preprocessing, *, resize: bool) -> list[ParityBatch]:
    """The images in batches of 1, 2 and 5 equal sizes, for a program with the resize inside, or without.

    With it each image comes alone in its own size, then in twos and fives in the size of the first of them, and five
    come in the size that needs no resizing. Without, all are `Preprocessing.to_pixels`.
    """
    if not resize:
        pixels = [preprocessing.to_pixels(image) for image in images]
        return [ParityBatch(np.stack(group), False) for size in BATCH_SIZES for group in _groups(pixels, size)]
    batches = []
    for size in BATCH_SIZES:
        for group in _groups(images, size):
            height, width = group[0].shape[:2]
            batches.append(ParityBatch(_stack(group, (height, width)), True))
    side = preprocessing.resize_size
    plain = preprocessing.crop_size if preprocessing.resize == "fit" else (side, side)
    batches += [ParityBatch(_stack(group, plain), False) for group in _groups(images, BATCH_SIZES[-1])]
    return batches


def _groups(images: list[np.ndarray], size: int) -> list[list[np.ndarray]]:
    """The images in groups of `size`, the last one filled up from the front."""
    count = -(-len(images) // size)
    return [[images[(start * size + k) % len(images)] for k in range(size)] for start in range(count)]


def _stack(group: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    return np.stack([image if image.shape[:2] == size else resample(image, size, "bilinear") for image in group])


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if channels in (1, 3):
        return decode_image(image, channels)
    color = decode_image(image, 3)
    return np.ascontiguousarray(color[..., np.arange(channels) % 3])


def _find(source: str | Path, num_images: int, access: Access) -> list[tuple[str, Callable[[], bytes | np.ndarray]]]:
    """Names and readers of up to `num_images` images, evenly spread."""
    path = Path(source)
    if path.is_dir():
        found = FileImages(path, [below for below in walk_files(path, "", Findings()) if is_image(below)])
        if len(found):
            return [(str(path / found.paths[k]), partial(found.read, k)) for k in _spread(len(found), num_images)]
    elif path.is_file() and is_image(path.name):
        return [(str(path), path.read_bytes)]
    data_dir = None if access.data_dir is None else Path(access.data_dir)
    try:
        images = open_source(source, data_dir=data_dir, download=access.download, log=access.log).images
    except DataError as error:
        if not path.is_dir():
            raise
        words = "holds no image files; name a folder with images, or leave it out for built-in ones"
        raise InputError(f"{source} {words}") from error
    return [(images.name(k), partial(images.read, k)) for k in _spread(len(images), num_images)]


def _spread(count: int, wanted: int) -> list[int]:
    """Up to `wanted` different indices of `count`, evenly from the first to the last."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, wanted))})
