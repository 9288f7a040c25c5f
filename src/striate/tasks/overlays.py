"""Answers drawn on their images and written as files. Nothing here imports torch."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from striate.data.cache import make_folder, write_atomically
from striate.data.decoding import decode_image
from striate.errors import InputError
from striate.progress import Log, log_nothing
from striate.tasks.predictions import PredictionError
from striate.tasks.task import Task


def write_drawings(answers: Iterable[Any], task: Task, folder: Path, *, log: Log = log_nothing) -> Iterator[Any]:
    """The same answers, each drawn on its image in `folder` (NAME.png) before it is passed on; errors pass as they are.

    A name that is taken gets a number. Raises InputError where the task has nothing to draw, the folder cannot be
    written or an image lies in it.
    """
    taken: set[str] = set()
    num_drawn = 0
    try:
        make_folder(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}; name another with --out") from None
    for answer in answers:
        if not isinstance(answer, PredictionError):
            check_drawing_folder(folder, [Path(answer.path)])
            num_drawn += 1
            path = folder / _free_name(Path(answer.path).stem, taken, has_mask=task.labels_pixels)
            drawn = task.draw(decode_image(Path(answer.path).read_bytes(), 3), answer)
            mask = task.mask_file(answer)
            try:
                Image.fromarray(drawn).save(path)
                if mask is not None:
                    mask.save(path.with_name(f"{path.stem}_mask.png"))
            except OSError as error:
                raise InputError(
                    f"{path} cannot be written: {error.strerror}; name another folder with --out"
                ) from None
        yield answer
    if taken and (table := task.mask_classes()) is not None:
        write_atomically(folder / "classes.csv", table.encode())
    log(f"{num_drawn:,} image{'' if num_drawn == 1 else 's'} with their answers are in {folder}")


def check_drawing_folder(folder: Path, images: Iterable[Path]) -> None:
    """Raise InputError where the folder is, or lies below, one of the images' own: no photo is written over, and no
    drawing read.
    """
    where = folder.resolve()
    for image in images:
        own = image.resolve()
        if own.parent == where or own == where or (own in where.parents and own.is_dir()):
            raise InputError(
                f"{folder} is where images to predict lie, and files of their names are written there; name another "
                "folder with --out"
            )


def _free_name(stem: str, taken: set[str], *, has_mask: bool) -> str:
    """A file name that no other file of the call has, nor that of its mask."""
    number = 1
    while True:
        own = stem if number == 1 else f"{stem}-{number}"
        names = {f"{own}.png", *([f"{own}_mask.png"] if has_mask else [])}
        if not names & taken:
            taken |= names
            return f"{own}.png"
        number += 1
