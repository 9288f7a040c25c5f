"""Predictions written as they come: a table, or one JSON document, in memory that does not grow with their number."""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.text import Text

from striate.cli.console import complain, is_terminal, json_text, out
from striate.printable import printable
from striate.units import percent

if TYPE_CHECKING:
    from striate.tasks.classification.predictions import Prediction
    from striate.tasks.predictions import PredictionError

_IN_MEMORY_BYTES = 1 << 20
_WIDEST_PATH, _NARROWEST_PATH, _WIDEST_NAME = 60, 20, 30
_BAR_CELLS, _WIDE = 20, 100


def write_json(answers: "Iterable[Prediction | PredictionError]", head: dict[str, Any]) -> bool:
    """One JSON document on standard output: `head`, "predictions" as they come, then "errors". Whether there were any.

    Errors wait in a file of their own until all predictions are written.
    """
    write = sys.stdout.write
    write("{\n")
    for name, value in head.items():
        write(f"  {json.dumps(name)}: {json_text(value)},\n")
    write('  "predictions": [')
    has_errors, has_predictions = False, False
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES, "w+", encoding="utf-8") as errors:
        for answer in answers:
            if hasattr(answer, "reason"):
                errors.write(("," if has_errors else "") + "\n    " + json_text(asdict(answer)))
                has_errors = True
                continue
            write(("," if has_predictions else "") + "\n    " + json_text(answer.to_json()))
            sys.stdout.flush()
            has_predictions = True
        write("\n  ],\n" if has_predictions else "],\n")
        write('  "errors": [')
        errors.seek(0)
        shutil.copyfileobj(errors, sys.stdout)
        write("\n  ]\n}\n" if has_errors else "]\n}\n")
    return has_errors


def write_table(answers: "Iterable[Prediction | PredictionError]") -> bool:
    """A row for each class of each image as they come; unreadable files on standard error. Whether there were any.

    Columns are as wide as the first image needs, and grow where a later one needs more.
    """
    has_errors, widths = False, [0, 0]
    for answer in answers:
        if hasattr(answer, "reason"):
            complain(f"{answer.path}: {answer.reason}")
            has_errors = True
            continue
        is_first = widths == [0, 0]
        names = [printable(name) for name, _, _ in _lines_of(answer)]
        widths[1] = max(widths[1], min(_WIDEST_NAME, max(len("class"), *(cell_len(name) for name in names))))
        bar_cells = _BAR_CELLS if out.width >= _WIDE else _BAR_CELLS // 2
        room = out.width - widths[1] - bar_cells - len("   100.0 % ") - 4
        path = printable(answer.path)
        if is_terminal(sys.stdout):  # elsewhere nothing is cut: somebody may read it by program
            path = _shortened(path, max(_NARROWEST_PATH, room))
        widths[0] = max(widths[0], min(_WIDEST_PATH, max(len("image"), cell_len(path))))
        if is_first:
            measure = getattr(answer, "measure", "probability")
            heading = f" {_pad('image', widths[0])}  {_pad('class', widths[1])}  {measure}"
            out.print(Text(heading, style="bold"), soft_wrap=True)
        for row in _rows(path, answer, widths, bar_cells):
            out.print(row, soft_wrap=True)
    return has_errors


def _rows(path: str, prediction: "Prediction", widths: list[int], bar_cells: int) -> Iterator[Text]:
    for place, (name, probability, note) in enumerate(_lines_of(prediction)):
        start = _pad(path if place == 0 else "", widths[0])
        line = f" {start}  {_pad(printable(name), widths[1])}"
        if probability is not None:
            line += f"  {percent(probability, 1):>7} {'█' * round(bar_cells * probability)}{'  ' * bool(note)}{note}"
        yield Text(line, style="" if place == 0 else "dim")


def _lines_of(prediction: Any) -> list[tuple[str, float | None, str]]:
    """Name, probability and a note of each row of an image: the task's own, or a row a class."""
    if hasattr(prediction, "rows"):
        rows: list[tuple[str, float | None, str]] = prediction.rows()
        return rows
    box = getattr(prediction, "box_xyxy", None)
    note = _remark(prediction) if box is None else f"box {' '.join(f'{value:.0f}' for value in box)}"
    return [(guess.name, guess.probability, "" if k else note) for k, guess in enumerate(prediction.classes)]


def _remark(prediction: Any) -> str:
    """What tells how far to believe a prediction, where that was asked for."""
    class_set, familiarity = getattr(prediction, "class_set", None), getattr(prediction, "familiarity", None)
    words = [] if class_set is None else [f"set: {', '.join(map(printable, class_set))}"]
    if familiarity is not None and familiarity.is_unfamiliar:
        words.append("UNFAMILIAR")
    return "  ".join(words)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _shortened(path: str, width: int) -> str:
    """The end of a path that is too long, from a folder's name on where that fits: "…/cats/7.jpg"."""
    if cell_len(path) <= width:
        return path
    end = path
    while cell_len(end) > width - 1:
        end = end[1:]
    _, slash, rest = end.partition("/")
    return "…" + (slash + rest if slash and rest else end)
