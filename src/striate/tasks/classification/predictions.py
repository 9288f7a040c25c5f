"""From images of any kind to what a classifier says of them: read ahead, computed in batches, answered in order.

Nothing here imports torch, so that an engine which does not need it answers without it. N images, K classes.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from striate.data.decoding import decode_picture, image_pixels
from striate.data.parallel import prefetch
from striate.data.preprocessing import Preprocessing
from striate.data.readers.folder_walk import Findings, is_image, walk_files
from striate.errors import DataError, InputError, StriateError
from striate.progress import Log, log_nothing

T = TypeVar("T")
_FEW_OF_MANY = 10  # times as many classes as are wanted: then looking for the largest beats sorting
ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray
"""A file, a folder of files, a Pillow image, or pixels (H, W) or (H, W, C) uint8."""
ForwardFn: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Computes: pixels (N, H, W, C) uint8 of the size that the model crops -> probabilities (N, K) float32."""


@dataclass(frozen=True)
class ClassProbability:
    """One class an image may be of; the probabilities of all K classes sum to 1."""

    name: str
    index: int
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, best first. `path` is its file; the fourth image given is "image 3"."""

    path: str
    classes: tuple[ClassProbability, ...]

    def to_json(self) -> dict[str, Any]:
        """{"path", "classes": [{"name", "index", "probability"}]}"""
        return {"path": self.path, "classes": [asdict(each) for each in self.classes]}


@dataclass(frozen=True)
class PredictionError:
    """An image that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Predictions:
    """What a model says of many images, in the order given; unreadable ones stand apart."""

    predictions: tuple[Prediction, ...]
    errors: tuple[PredictionError, ...]

    def to_json(self) -> dict[str, Any]:
        """{"predictions": [{"path", "classes": [{"name", "index", "probability"}]}], "errors": [{"path", "reason"}]}"""
        return {
            "predictions": [prediction.to_json() for prediction in self.predictions],
            "errors": [asdict(error) for error in self.errors],
        }


def collect(answers: Iterable[Prediction | PredictionError]) -> Predictions:
    """All answers, those that are errors apart."""
    listed = list(answers)
    return Predictions(
        predictions=tuple(answer for answer in listed if isinstance(answer, Prediction)),
        errors=tuple(answer for answer in listed if isinstance(answer, PredictionError)),
    )


def answer_each(
    named: Iterable[tuple[str, ImageLike]],
    preprocessing: Preprocessing,
    class_names: tuple[str, ...],
    run: ForwardFn,
    *,
    top: int,
    batch_size: int,
) -> Iterator[Prediction | PredictionError]:
    """The `top` most probable classes of each image, in order, in memory that does not grow with their number.

    Decoding (in threads, up to two batches ahead), computing (in a thread of its own, so that `run` always meets the
    same one) and whatever the caller does with the answers happen at the same time. InputError where `top` or
    `batch_size` is below 1.
    """
    if top < 1 or batch_size < 1:
        raise InputError(f"top and batch_size must be at least 1 but are {top} and {batch_size}")
    thunks = (partial(read_pixels, name, image, preprocessing) for name, image in named)
    num_workers = min(8, os.cpu_count() or 1)
    with closing(prefetch(thunks, depth=2 * batch_size, num_workers=num_workers)) as pixels:
        jobs = (partial(_answer, batch, class_names, run, top) for batch in in_batches(pixels, batch_size))
        with closing(prefetch(jobs, depth=1, num_workers=1)) as answered:
            for answers in answered:
                yield from answers


def name_images(images: ImageLike | Iterable[ImageLike], *, log: Log = log_nothing) -> Iterator[tuple[str, ImageLike]]:
    """Every single image with its name; folders give their image files, of any depth, in order of their names.

    Links are followed, hidden folders and those that systems leave behind are passed over and told, as everywhere.
    """
    if isinstance(images, (str, Path, Image.Image)) or (isinstance(images, np.ndarray) and images.ndim < 4):
        images = [images]
    for place, image in enumerate(images):
        if isinstance(image, (str, Path)):
            yield from _expand_path(Path(image), log) if os.path.isdir(image) else [(str(image), image)]
        else:
            yield f"image {place}", image


def read_pixels(name: str, image: ImageLike, preprocessing: Preprocessing) -> tuple[str, np.ndarray] | PredictionError:
    """The pixels (h, w, C) of one image as the network wants them, or why there are none."""
    try:
        return name, preprocessing.to_pixels(_decode(image, preprocessing.channels))
    except InputError as error:
        return PredictionError(name, str(error))
    except FileNotFoundError:
        return PredictionError(name, "does not exist")
    except OSError as error:
        return PredictionError(name, f"cannot be opened: {error.strerror or error}")
    except MemoryError:
        return PredictionError(name, "needs more memory than there is")


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one perhaps shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def best_classes(probabilities: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top` most probable classes of each image, best first: (N, K) -> probabilities and class indices.

    Each is (N, min(top, K)). Of equally probable classes the one with the lower index comes first, as in
    tasks.classification.top_classes.
    """
    num_images, num_classes = probabilities.shape
    if top * _FEW_OF_MANY > num_classes:
        indices = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    else:  # of 20,000 classes five are found in a sixtieth of the time that sorting takes
        rows, left = np.arange(num_images), probabilities.copy()
        indices = np.empty((num_images, top), np.intp)
        for place in range(top):
            indices[:, place] = left.argmax(axis=1)
            left[rows, indices[:, place]] = -np.inf
    return np.take_along_axis(probabilities, indices, axis=1), indices


def _answer(
    batch: list[tuple[str, np.ndarray] | PredictionError], class_names: tuple[str, ...], run: ForwardFn, top: int
) -> list[Prediction | PredictionError]:
    """What the network says of the readable images of a batch, and the errors, in their order."""
    readable = [pixels for _, pixels in (each for each in batch if isinstance(each, tuple))]
    if not readable:
        return [each for each in batch if isinstance(each, PredictionError)]
    probabilities = run(np.stack(readable))
    shares, indices = best_classes(probabilities, top)
    shares[~np.isfinite(probabilities).all(axis=1)] = np.nan
    answers = iter(zip(shares.tolist(), indices.tolist(), strict=True))
    return [
        each if isinstance(each, PredictionError) else _prediction(each[0], class_names, *next(answers))
        for each in batch
    ]


def _prediction(
    path: str, class_names: tuple[str, ...], shares: list[float], indices: list[int]
) -> Prediction | PredictionError:
    if not np.isfinite(shares).all():
        return PredictionError(path, "makes the network answer NaN; its weights may be damaged")
    classes = (ClassProbability(class_names[k], k, share) for k, share in zip(indices, shares, strict=True))
    return Prediction(path, tuple(classes))


def _expand_path(folder: Path, log: Log) -> Iterator[tuple[str, ImageLike]]:
    """The images of a folder, as `striate data` walks it; what was passed over is told at the end."""
    findings, is_empty = Findings(), True
    try:
        for below in walk_files(folder, "", findings):
            if is_image(below):
                is_empty = False
                path = os.path.join(folder, below)
                yield path, Path(path)
    except DataError as error:  # the folder itself may not be read, which is no reason to lose the others
        log(str(error))
    for notice in findings.notices():
        log(f"{folder}: {notice}")
    if is_empty:
        yield str(folder), folder  # read as a file it becomes an error with the folder's name


def _decode(image: ImageLike, channels: int) -> np.ndarray | Image.Image:
    """One image as pixels (H, W, channels) uint8 or as Pillow's; InputError with the reason, or OSError, where there are none."""
    if isinstance(image, (str, Path)):
        return decode_picture(_read_bytes(image), channels)
    if isinstance(image, np.ndarray):
        return decode_picture(image, channels)
    if not isinstance(image, Image.Image):
        raise InputError(f"is {type(image).__name__}, neither a path, a Pillow image nor an array (H, W, C)")
    if channels not in (1, 3):
        raise InputError(f"is a Pillow image, which gives 1 or 3 channels and not {channels}")
    try:
        return image_pixels(image, channels)
    except StriateError:
        raise
    except Exception as error:  # as for files: Pillow raises nearly anything on damaged data
        raise InputError(f"cannot be decoded: {error}") from error


def _read_bytes(path: str | Path) -> bytes:
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:
        raise InputError(f"is no path: {error}") from None
    if stat.S_ISDIR(mode):
        raise InputError("holds no image files")
    if not stat.S_ISREG(mode):
        raise InputError("is no regular file")  # reading a pipe or a device may never end
    return Path(path).read_bytes()
