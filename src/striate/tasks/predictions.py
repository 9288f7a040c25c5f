"""From images of any kind to what a model says of them: read ahead, computed in batches, answered in order.

Nothing here imports torch, so that an engine which does not need it answers without it. N images, D values of each.
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
from striate.data.readers.folder_walk import Findings, by_ending, is_image, walk_files
from striate.errors import DataError, InputError, StriateError
from striate.notebook import Shown
from striate.progress import Log, log_nothing
from striate.tasks.task import Task

T = TypeVar("T")
_MISSING = "does not exist"
ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray
"""A file, a folder of files, a Pillow image, or pixels (H, W) or (H, W, C) uint8."""
ForwardFn: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""Computes: pixels (N, H, W, C) uint8 of the size that the model crops -> the task's values (N, D) float32."""


@dataclass(frozen=True)
class PredictionError:
    """An image that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class ReadImage:
    """An image by name: `pixels` (h, w, C) uint8 as the network wants them, and the (height, width) it came in."""

    name: str
    pixels: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True, repr=False)
class Predictions(Shown):
    """Predictions for many images, in the order given; unreadable ones apart."""

    predictions: tuple[Any, ...]
    errors: tuple[PredictionError, ...]

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        return "striate predictions", (
            ("images", f"{len(self.predictions):,}"),
            ("unreadable", f"{len(self.errors):,}"),
        )

    def to_json(self) -> dict[str, Any]:
        """{"predictions": [{"path", ...}], "errors": [{"path", "reason"}]}; what a prediction holds is the task's."""
        return {
            "predictions": [prediction.to_json() for prediction in self.predictions],
            "errors": [asdict(error) for error in self.errors],
        }


def collect(answers: Iterable[Any]) -> Predictions:
    """All answers, those that are errors apart. InputError where nothing that was named exists."""
    listed = list(answers)
    if listed and all(isinstance(answer, PredictionError) and answer.reason == _MISSING for answer in listed):
        names = ", ".join(answer.path for answer in listed[:3]) + (", ..." if len(listed) > 3 else "")
        raise InputError(
            f"{names} {'does' if len(listed) == 1 else 'do'} not exist; name image files, or folders of them"
        )
    return Predictions(
        predictions=tuple(answer for answer in listed if not isinstance(answer, PredictionError)),
        errors=tuple(answer for answer in listed if isinstance(answer, PredictionError)),
    )


def answer_each(
    named: Iterable[tuple[str, ImageLike]],
    preprocessing: Preprocessing,
    task: Task,
    run: ForwardFn,
    *,
    top: int,
    batch_size: int,
) -> Iterator[Any]:
    """What the task makes of each image, or a PredictionError, in order, in memory that does not grow with their
    number.

    `top` is how many classes an answer names.

    Decoding (in threads, up to two batches ahead), computing (in a thread of its own, so that `run` always meets the
    same one) and whatever the caller does with the answers happen at the same time. InputError where `top` or
    `batch_size` is below 1.
    """
    if top < 1 or batch_size < 1:
        raise InputError(f"top and batch_size must be at least 1 but are {top} and {batch_size}")
    batch_size = min(batch_size, task.most_at_once)
    thunks = (partial(read_image, name, image, preprocessing) for name, image in named)
    num_workers = min(8, os.cpu_count() or 1)
    with closing(prefetch(thunks, depth=2 * batch_size, num_workers=num_workers)) as pixels:
        jobs = (partial(_answer, batch, task, preprocessing, run, top) for batch in in_batches(pixels, batch_size))
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
    """The name and the pixels (h, w, C) of one image as the network wants them, or why there are none."""
    read = read_image(name, image, preprocessing)
    return read if isinstance(read, PredictionError) else (read.name, read.pixels)


def read_picture(name: str, image: ImageLike, channels: int) -> np.ndarray | Image.Image | PredictionError:
    """One image as it is, decoded: (H, W, channels) uint8 or Pillow's, or why there is none."""
    return _or_error(name, lambda: _decode(image, channels))


def read_image(name: str, image: ImageLike, preprocessing: Preprocessing) -> ReadImage | PredictionError:
    """One image as the network wants it, or why there is none."""

    def read() -> ReadImage:
        decoded = _decode(image, preprocessing.channels)
        size = (decoded.height, decoded.width) if isinstance(decoded, Image.Image) else decoded.shape[:2]
        return ReadImage(name, preprocessing.to_pixels(decoded), (size[0], size[1]))

    return _or_error(name, read)


def _or_error(name: str, read: Callable[[], T]) -> T | PredictionError:
    """What `read` gives, or what is wrong with the image of this name."""
    try:
        return read()
    except InputError as error:
        return PredictionError(name, str(error))
    except FileNotFoundError:
        return PredictionError(name, _MISSING)
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


def _answer(
    batch: list[ReadImage | PredictionError], task: Task, preprocessing: Preprocessing, run: ForwardFn, top: int
) -> list[Any]:
    """What the task makes of the readable images of a batch, and the errors, in their order."""
    readable = [each for each in batch if isinstance(each, ReadImage)]
    if not readable:
        return list(batch)
    values = run(np.stack([each.pixels for each in readable]))
    is_sound = np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    paths = [each.name for each, sound in zip(readable, is_sound, strict=True) if sound]
    sizes = np.array([each.size for each in readable])
    answers = iter(task.answers(paths, values[is_sound], sizes[is_sound], preprocessing, top))
    sound = iter(is_sound.tolist())
    return [
        each
        if isinstance(each, PredictionError)
        else next(answers)
        if next(sound)
        else PredictionError(each.name, "makes the network answer NaN; its weights may be damaged")
        for each in batch
    ]


def _expand_path(folder: Path, log: Log) -> Iterator[tuple[str, ImageLike]]:
    """The images of a folder, as `striate data` walks it; what was passed over is told at the end."""
    findings, is_empty, passed_over = Findings(), True, list[str]()
    try:
        for below in walk_files(folder, "", findings):
            if is_image(below):
                is_empty = False
                path = os.path.join(folder, below)
                yield path, Path(path)
            else:
                passed_over.append(below)
    except DataError as error:  # the folder itself may not be read, which is no reason to lose the others
        log(str(error))
    for notice in findings.notices():
        log(f"{folder}: {notice}")
    if passed_over:
        log(f"{folder}: passed over, not images by their ending: {by_ending(passed_over)}")
    if is_empty:
        yield str(folder), folder  # read as a file it becomes an error with the folder's name


def _decode(image: ImageLike, channels: int) -> np.ndarray | Image.Image:
    """One image as pixels (H, W, channels) uint8 or as Pillow's; InputError with the reason, or OSError, where there
    are none.
    """
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
