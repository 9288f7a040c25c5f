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

    A name that is taken gets a number. Raises InputError where the task has nothing to draw or the folder cannot be written.
    """
    taken: set[str] = set()
    try:
        make_folder(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}; name another with --out") from None
    for answer in answers:
        if not isinstance(answer, PredictionError):
            path = folder / _free_name(Path(answer.path).stem, taken)
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
    log(f"{len(taken):,} image{'' if len(taken) == 1 else 's'} with their answers are in {folder}")


def _free_name(stem: str, taken: set[str]) -> str:
    """A file name that no other image of the call has."""
    name, number = f"{stem}.png", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}.png"
    taken.add(name)
    return name
