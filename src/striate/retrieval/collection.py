"""The images of a source, read once each: their bytes' hash and, where they are wanted, their pixels."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from striate.data.decoding import decode_picture
from striate.data.files import read_regular_file
from striate.data.hashing import hash_image
from striate.data.opening import Access
from striate.data.parallel import prefetch
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.explanation.pictures_of_source import Pictures, open_pictures
from striate.progress import Log

_NUM_WORKERS = 2


@dataclass(frozen=True, eq=False)
class ReadPicture:
    """An image by its place in a source: `hash` (16,) uint8 of its bytes, and `pixels` (h, w, C) uint8 as a network
    wants them, or None where nobody asked for them.
    """

    place: int
    hash: np.ndarray
    pixels: np.ndarray | None


def open_collection(source: str | Path, access: Access) -> Pictures:
    """The images of anything that `open_source` takes, or of a folder without classes, with labels of -1 where an image
    has no class of its own, as those with boxes or masks have none. Raises DataError for what is neither.
    """
    found = open_pictures(source, access)
    dataset = found.dataset
    if dataset is None or (dataset.objects is None and dataset.masks is None):
        return found
    return Pictures(found.names, np.full(len(found), -1), (), dataset, found.files)


def content_of(pictures: Pictures, place: int) -> bytes | np.ndarray:
    """The encoded bytes of an image, or its pixels where the source holds pixels. May raise OSError."""
    if pictures.dataset is not None:
        return pictures.dataset.images.read(place)
    file = pictures.files[place]
    assert isinstance(file, (str, Path))
    return read_regular_file(file)


def read_each(
    pictures: Pictures, preprocessing: Preprocessing, is_known: Callable[[bytes], bool], log: Log
) -> Iterator[ReadPicture]:
    """All readable images in order, read ahead; without pixels where `is_known` of the hash. `log` hears of others."""
    thunks = (partial(_read, pictures, place, preprocessing, is_known) for place in range(len(pictures)))
    with closing(prefetch(thunks, depth=64, num_workers=_NUM_WORKERS)) as found:
        for place, each in enumerate(found):
            if isinstance(each, ReadPicture):
                yield each
            else:
                log(f"left out {pictures.names[place]}: {each}")


def _read(
    pictures: Pictures, place: int, preprocessing: Preprocessing, is_known: Callable[[bytes], bool]
) -> ReadPicture | str:
    """One image, or why there is none."""
    try:
        content = content_of(pictures, place)
        own = hash_image(content)
        pixels = None
        if not is_known(own):
            pixels = preprocessing.to_pixels(decode_picture(content, preprocessing.channels))
        return ReadPicture(place, np.frombuffer(own, np.uint8), pixels)
    except OSError as error:
        return f"cannot be opened: {error.strerror or error}"
    except (InputError, MemoryError) as error:
        return str(error) or "needs more memory than there is"
