"""Detections as files that other programs read, and striate too: CSV, COCO JSON, YOLO text files, Pascal VOC XML."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

from striate.data.cache import writing_atomically
from striate.errors import InputError
from striate.printable import spreadsheet_cell
from striate.tasks.detection.predictions import DetectedPrediction
from striate.tasks.predictions import PredictionError

Answer: TypeAlias = DetectedPrediction | PredictionError
FORMATS = ("csv", "coco", "yolo", "voc")
"""The first two are one file, the others a folder with a file an image."""


def format_of(path: Path, wanted: str | None) -> str:
    """The format asked for, or that which the file's ending tells; InputError where there is neither."""
    if wanted is not None and wanted not in FORMATS:
        raise InputError(f"the format of boxes must be one of {', '.join(FORMATS)} but is {wanted!r}")
    told = {".csv": "csv", ".json": "coco"}.get(path.suffix.lower())
    if wanted is None and told is None:
        raise InputError(
            f"{path} does not tell its format: name a FILE.csv or FILE.json (COCO), or add --boxes-format yolo or voc"
        )
    return wanted or str(told)


@contextmanager
def writing_boxes(
    answers: Iterable[Answer], path: Path, wanted: str, class_names: Sequence[str]
) -> Iterator[Iterator[Answer]]:
    """The answers, each written in this format while it passes. InputError where it cannot be written."""
    if wanted in ("yolo", "voc"):
        write = _yolo_writer(path, class_names) if wanted == "yolo" else _voc_writer(path)
        yield _passing(answers, write, path)
        return
    if path.is_dir():
        raise InputError(
            f"{path} is a folder; name the file to write, such as {path / ('boxes.' + 'csv' * (wanted == 'csv'))}"
        )
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(writing_atomically(path))
        except OSError as error:
            raise _unwritable(path, error) from error
        text = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
        if wanted == "csv":
            yield _passing(answers, _csv_writer(text), path)
        else:
            document = _CocoDocument(class_names, path.absolute().parent)
            yield _passing(answers, document.add, path)
            json.dump(document.content, text)
        text.detach()


def _passing(answers: Iterable[Answer], write: Callable[[Answer], None], path: Path) -> Iterator[Answer]:
    for answer in answers:
        try:
            write(answer)
        except OSError as error:
            raise _unwritable(path, error) from error
        yield answer


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be written: {error.strerror or error}; free some space, or choose another --boxes"
    )


def _csv_writer(text: io.TextIOWrapper) -> Callable[[Answer], None]:
    """Rows of path, label, x1, y1, x2, y2, score, error; an image without objects has one with neither label nor
    box.
    """
    table = csv.writer(text)
    table.writerow(["path", "label", "x1", "y1", "x2", "y2", "score", "error"])

    def write(answer: Answer) -> None:
        path = spreadsheet_cell(answer.path)
        if isinstance(answer, PredictionError):
            table.writerow([path, *[""] * 6, spreadsheet_cell(answer.reason)])
            return
        for each in answer.objects:
            borders = [f"{value:.2f}" for value in each.box_xyxy]
            table.writerow([path, spreadsheet_cell(each.name), *borders, f"{each.score:.6f}", ""])
        if not answer.objects:
            table.writerow([path, *[""] * 7])

    return write


class _CocoDocument:
    """COCO's form of instances, with a score each, which `loadRes` and annotation tools read. An image below the
    document's `folder` is called by its path there, another by its name.
    """

    def __init__(self, class_names: Sequence[str], folder: Path) -> None:
        self.folder = folder
        categories = [{"id": number, "name": name} for number, name in enumerate(class_names, 1)]
        self.content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": categories}

    def add(self, answer: Answer) -> None:
        if isinstance(answer, PredictionError):
            return
        images, annotations = self.content["images"], self.content["annotations"]
        height, width = answer.size
        path = Path(answer.path).absolute()
        name = path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name
        images.append({"id": len(images) + 1, "file_name": name, "height": height, "width": width})
        for each in answer.objects:
            x1, y1, x2, y2 = each.box_xyxy
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": each.index + 1,
                    "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
                    "area": round((x2 - x1) * (y2 - y1), 2),
                    "iscrowd": 0,
                    "score": round(each.score, 6),
                }
            )


def _yolo_writer(folder: Path, class_names: Sequence[str]) -> Callable[[Answer], None]:
    """`classes.txt` and NAME.txt: class number, centre, width and height as fractions, score."""
    taken = _made(folder)
    taken.add("classes.txt")
    _write(folder / "classes.txt", "".join(f"{' '.join(name.split())}\n" for name in class_names))

    def write(answer: Answer) -> None:
        if isinstance(answer, PredictionError):
            return
        height, width = answer.size
        lines = []
        for each in answer.objects:
            x1, y1, x2, y2 = each.box_xyxy
            center = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
            numbers = (*center, (x2 - x1) / width, (y2 - y1) / height, each.score)
            lines.append(f"{each.index} {' '.join(f'{value:.6f}' for value in numbers)}\n")
        (folder / _free_name(answer.path, ".txt", taken)).write_text("".join(lines), encoding="utf-8")

    return write


def _voc_writer(folder: Path) -> Callable[[Answer], None]:
    """NAME.xml; pixels are counted from 1 there, and both borders belong to a box."""
    taken = _made(folder)

    def write(answer: Answer) -> None:
        if isinstance(answer, PredictionError):
            return
        root = ElementTree.Element("annotation")
        _add(root, "filename", Path(answer.path).name)
        size = ElementTree.SubElement(root, "size")
        for name, value in (("width", answer.size[1]), ("height", answer.size[0]), ("depth", 3)):
            _add(size, name, str(value))
        for each in answer.objects:
            element = ElementTree.SubElement(root, "object")
            _add(element, "name", each.name)
            _add(element, "difficult", "0")
            _add(element, "score", f"{each.score:.6f}")
            box = ElementTree.SubElement(element, "bndbox")
            x1, y1, x2, y2 = each.box_xyxy
            for name, border in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
                _add(box, name, f"{border:.2f}")
        ElementTree.indent(root)
        path = folder / _free_name(answer.path, ".xml", taken)
        path.write_text(ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")

    return write


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = "".join(c for c in text if c.isprintable())


def _made(folder: Path) -> set[str]:
    """An empty set of names, the folder being there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return set()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from None


def _free_name(path: str, ending: str, taken: set[str]) -> str:
    """A file name that no other image of the call has."""
    stem, number = Path(path).stem, 1
    name = f"{stem}{ending}"
    while name in taken:
        number += 1
        name = f"{stem}-{number}{ending}"
    taken.add(name)
    return name
