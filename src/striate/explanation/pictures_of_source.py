"""The images of a source, or of any folder, one batch after the other in memory that does not grow with their
number.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from striate.data.dataset import Dataset
from striate.data.decoding import decode_picture
from striate.data.opening import Access, scan_source
from striate.data.parallel import prefetch
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError, InputError
from striate.progress import Log, log_nothing
from striate.tasks.predictions import ImageLike, PredictionError, in_batches, name_images, read_pixels

_NUM_WORKERS = 2


@dataclass(frozen=True, eq=False)
class Pictures:
    """The images of a source by name; `labels` (N,) index `class_names`, and are -1 where the source is a folder
    without classes.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    dataset: Dataset | None
    files: tuple[ImageLike, ...]

    def __len__(self) -> int:
        return len(self.names)

    def pixels(self, index: int, preprocessing: Preprocessing) -> tuple[int, np.ndarray] | PredictionError:
        """(index, pixels (h, w, C) uint8 as the network is given them), or why there are none."""
        name = self.names[index]
        if self.dataset is None:
            found = read_pixels(name, self.files[index], preprocessing)
            return found if isinstance(found, PredictionError) else (index, found[1])
        try:
            picture = decode_picture(self.dataset.images.read(index), preprocessing.channels)
            return index, preprocessing.to_pixels(picture)
        except (InputError, OSError, MemoryError) as error:
            return PredictionError(name, str(error))

    def batches(
        self,
        preprocessing: Preprocessing,
        batch_size: int,
        log: Log = log_nothing,
        *,
        indices: Iterable[int] | None = None,
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        """Indices and pixels (n, h, w, C) of the readable images, all or those of `indices`; `log` hears of the
        others.
        """
        wanted = range(len(self)) if indices is None else indices
        thunks = (partial(self.pixels, index, preprocessing) for index in wanted)
        with closing(prefetch(thunks, depth=2 * batch_size, num_workers=_NUM_WORKERS)) as each_image:
            for batch in in_batches(each_image, batch_size):
                for each in batch:
                    if isinstance(each, PredictionError):
                        log(f"left out {each.path}: {each.reason}")
                readable = [each for each in batch if isinstance(each, tuple)]
                if readable:
                    yield [index for index, _ in readable], np.stack([pixels for _, pixels in readable])


def open_pictures(source: str | Path, access: Access | None = None) -> Pictures:
    """The images of anything that `open_source` takes, or of a folder without classes. Raises DataError for what is
    neither.
    """
    try:
        dataset = scan_source(source, access or Access())
    except DataError:
        if not os.path.isdir(source):
            raise
        named = list(name_images(source))
        if len(named) == 1 and named[0][0] == str(source):
            raise
        names, files = zip(*named, strict=True)
        return Pictures(names, np.full(len(names), -1), (), None, files)
    names = tuple(dataset.images.name(index) for index in range(len(dataset)))
    return Pictures(names, dataset.labels, dataset.class_names, dataset, ())
