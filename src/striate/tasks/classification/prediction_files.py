"""What becomes of predictions beside being shown: a table in a file, images sorted into folders, the least certain
ones.
"""

import csv
import heapq
import io
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from striate.data.cache import make_folder, writing_atomically
from striate.errors import InputError
from striate.printable import printable, spreadsheet_cell
from striate.tasks.classification.predictions import Prediction
from striate.tasks.predictions import PredictionError

Answer: TypeAlias = Prediction | PredictionError
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")


@contextmanager
def writing_csv(answers: Iterable[Answer], path: Path) -> Iterator[Iterator[Answer]]:
    """The answers, each written as a row of a CSV while it passes; the file is there once the block ends without an
    error.

    Columns: path, class, probability (in [0, 1]), second_class, second_probability, error. Cells that a spreadsheet
    would take for formulas begin with an apostrophe, and control characters are escapes. Raises InputError where it
    cannot be written.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name the CSV file to write, such as {path / 'predictions.csv'}")
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(writing_atomically(path))
        except OSError as error:
            raise _unwritable(path, error) from error
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
        table = csv.writer(text)
        table.writerow(["path", "class", "probability", "second_class", "second_probability", "error"])
        yield (_written(answer, table, path) for answer in answers)
        text.detach()


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be written: {error.strerror or error}; free some space, or choose another --csv")


def _written(answer: Answer, table: Any, file: Path) -> Answer:
    row = [spreadsheet_cell(answer.path), "", "", "", "", ""]
    if isinstance(answer, PredictionError):
        row[5] = spreadsheet_cell(answer.reason)
    else:
        for place, guess in enumerate(answer.classes[:2]):
            row[1 + 2 * place : 3 + 2 * place] = [spreadsheet_cell(guess.name), f"{guess.probability:.6f}"]
    try:
        table.writerow(row)
    except OSError as error:
        raise _unwritable(file, error) from error
    return answer


def check_sorting_folder(folder: Path) -> None:
    """Raise InputError unless the folder is empty or yet to be made: nothing of the user's is mixed up."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder; name a new one for --sort-into")


def sorting_into(answers: Iterable[Answer], folder: Path, *, use_links: bool = False) -> Iterator[Answer]:
    """The answers, each image being copied (or linked) into a subfolder for its most probable class as it passes.

    Originals are only read. Two files of one name become photo.jpg and photo-2.jpg. Raises InputError where it cannot
    be done.
    """
    folders: dict[str, Path] = {}
    for answer in answers:
        if isinstance(answer, Prediction):
            name = answer.classes[0].name
            if name not in folders:
                folders[name] = _class_folder(name, folder, set(folders.values()))
            try:
                make_folder(folders[name])
                _place(Path(answer.path), folders[name], use_links=use_links)
            except OSError as error:
                raise InputError(f"{folders[name]} cannot take {answer.path}: {error.strerror or error}") from error
        yield answer


def least_certain(answers: Iterable[Answer], count: int) -> Iterator[Answer]:
    """Errors as they come, then the `count` predictions whose best class is least probable, the least certain first."""
    kept: list[tuple[float, int, Prediction]] = []
    places = itertools.count()
    for answer in answers:
        if isinstance(answer, PredictionError):
            yield answer
            continue
        entry = (-answer.classes[0].probability, next(places), answer)
        if len(kept) < count:
            heapq.heappush(kept, entry)
        elif entry > kept[0]:
            heapq.heapreplace(kept, entry)
    yield from (answer for _, _, answer in sorted(kept, key=lambda entry: (-entry[0], entry[1])))


def _class_folder(name: str, folder: Path, taken: set[Path]) -> Path:
    """A subfolder for a class: its name without what a file system or a path would take otherwise."""
    plain = re.sub(r'[\\/:*?"<>|]', "_", printable(name)).strip(" .")[:100] or "class"
    plain = f"{plain}_" if _RESERVED.match(plain) else plain
    lowered = {each.name.lower() for each in taken}
    number = next(number for number in itertools.count(1) if _numbered(plain, number).lower() not in lowered)
    return folder / _numbered(plain, number)


def _place(image: Path, folder: Path, *, use_links: bool) -> None:
    for number in itertools.count(1):
        target = folder / f"{_numbered(image.stem, number)}{image.suffix}"
        try:
            if use_links:
                target.symlink_to(os.path.abspath(image))
            else:
                with image.open("rb") as source, target.open("xb") as copy:
                    shutil.copyfileobj(source, copy)
        except FileExistsError:
            continue
        return


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"
