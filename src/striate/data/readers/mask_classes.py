"""What the values of masks mean: from a list of classes beside them, by the layout's own rules, or from the masks
themselves.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from striate.data.files import read_regular_file
from striate.data.masks import MAX_CLASSES, Kind, MaskCodes
from striate.data.readers.table import read_rows
from striate.errors import DataError, InputError
from striate.printable import excerpt

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Pascal VOC's classes in the order of their numbers; 255 is the border between objects."""
VOID = 255
VOID_NAMES = frozenset(
    {"void", "unlabelled", "unlabeled", "ignore", "ignored", "ignoreregion", "dontcare", "unknown", "none"}
)
LISTS = ("classes.csv", "class_dict.csv", "classes.txt", "codes.txt", "label_colors.txt", "labels.txt")
MAX_LIST_BYTES = 1_000_000
_NUMBERS = (
    "index",
    "idx",
    "id",
    "value",
    "category_id",
    "class_id",
    "class_index",
    "label_id",
    "label_index",
    "label",
    "class",
)
_NAMES = ("name", "class_name", "label", "class", "category")
_COLORS = (("r", "g", "b"), ("red", "green", "blue"))


@dataclass(frozen=True)
class ListedClass:
    """A class as a list has it: its name, its number, and its colour (65536 R + 256 G + B) where it has one."""

    name: str
    value: int
    color: int | None = None

    @property
    def is_void(self) -> bool:
        """Whether the name says that its pixels count for nothing."""
        return re.sub("[^a-z]", "", self.name.lower()) in VOID_NAMES


def read_class_list(folder: Path) -> tuple[str, list[ListedClass]] | None:
    """The name of the list in a folder and its classes; None where there is none. DataError where it makes no sense."""
    for name in LISTS:
        path = folder / name
        if not path.is_file():
            continue
        classes = _from_table(path) if path.suffix == ".csv" else _from_lines(path)
        if not classes:
            continue
        for what, values in (
            ("number", [str(each.value) for each in classes]),
            ("name", [each.name for each in classes]),
        ):
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise DataError(f"{path}: the {what} {twice[0]} is there twice")
        return name, classes
    return None


def codes_of_list(
    classes: Sequence[ListedClass], kind: Kind, ignore_index: int | None
) -> tuple[tuple[str, ...], MaskCodes]:
    """Names of the classes that count, in the order of the list, and what values mean. DataError for no class or too
    many.
    """
    voids = [each for each in classes if each.is_void]
    counted = [each for each in classes if not each.is_void and (kind == "color" or each.value != ignore_index)]
    if not counted or len(counted) > MAX_CLASSES:
        raise DataError(f"masks need 1 to {MAX_CLASSES} classes but the list has {len(counted)}")
    if kind == "color":
        _check_colors(counted, voids)
    ignored = {VOID} - {each.value for each in counted} if kind == "index" else set()
    ignored |= set() if ignore_index is None else {ignore_index}
    ignored |= {value for each in voids if (value := _value(each, kind)) is not None}
    pairs = [(value, k) for k, each in enumerate(counted) if (value := _value(each, kind)) is not None]
    return tuple(each.name for each in counted), MaskCodes(kind, tuple(pairs), tuple(sorted(ignored)))


def codes_of_values(
    values: Iterable[int], kind: Kind, ignore_index: int | None
) -> tuple[tuple[str, ...], MaskCodes, str]:
    """Names, meaning, and a line on it, from the values that masks hold. DataError where these are no classes."""
    found = sorted(set(values))
    ignored = () if ignore_index is None else (ignore_index,)
    found = [value for value in found if value not in ignored]
    if kind == "index" and len(found) > 2 and found[-1] == VOID and VOID not in ignored:
        found, ignored = found[:-1], (*ignored, VOID)
    if not found or len(found) > MAX_CLASSES:
        raise DataError(
            f"the masks hold {len(found)} values, which cannot be classes; list those that are in classes.csv: "
            "index,name"
        )
    if kind == "index" and len(found) == 2 and found[0] == 0:
        names: tuple[str, ...] = ("background", "foreground")
    else:
        names = tuple(_shown(value, kind) for value in found)
    codes = MaskCodes(kind, tuple((value, k) for k, value in enumerate(found)), ignored)
    left_out = f"; {', '.join(map(str, ignored))} counts for nothing" if ignored else ""
    words = ", ".join(f"{_shown(value, kind)} {name}" for value, name in list(zip(found, names, strict=True))[:4])
    more = ", ..." if len(found) > 4 else ""
    return (
        names,
        codes,
        f"no list of classes beside the masks: their values are taken for classes ({words}{more}){left_out}",
    )


def voc_colors() -> np.ndarray:
    """Pascal VOC's colours of the numbers 0 to 255, (256, 3) uint8: the bits of a number, dealt out to red, green and
    blue.
    """
    numbers = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colors


def voc_list() -> list[ListedClass]:
    """Pascal VOC's own classes with their colours, and its void."""
    colors = voc_colors().astype(int)
    packed = [int(r << 16 | g << 8 | b) for r, g, b in colors]
    classes = [ListedClass(name, value, packed[value]) for value, name in enumerate(VOC_CLASSES)]
    return [*classes, ListedClass("void", VOID, packed[VOID])]


def _check_colors(counted: Sequence[ListedClass], voids: Sequence[ListedClass]) -> None:
    """DataError where the colour of a class is that of another."""
    owners: dict[int | None, str] = {each.color: each.name for each in voids}
    for each in counted:
        other = owners.setdefault(each.color, each.name)
        if other != each.name:
            raise DataError(
                f"the classes {excerpt(other)} and {excerpt(each.name)} have the same colour in the list of classes, "
                "so that masks cannot tell them apart; give each its own"
            )


def _value(listed: ListedClass, kind: Kind) -> int | None:
    return listed.color if kind == "color" else listed.value


def _shown(value: int, kind: Kind) -> str:
    return f"#{value:06x}" if kind == "color" else str(value)


def _from_table(path: Path) -> list[ListedClass]:
    """A table with names, and numbers or colours or both. DataError with the line of what is wrong."""
    columns, rows = read_rows(path)
    of_color = next((tuple(map(columns.index, names)) for names in _COLORS if set(names) <= set(columns)), None)
    names = [name for name in _NAMES if name in columns]
    if not names:
        raise DataError(f"{path} has no column name; its first line should be index,name or name,r,g,b")
    name_at = columns.index(names[0])
    number = _number_column(columns, [fields for _, fields in rows], names[0])
    classes = []
    for place, (line, fields) in enumerate(rows):
        where = f"{path}, line {line}"
        value = place if number is None else _whole(fields[number], where)
        color = None if of_color is None else _color([fields[k] for k in of_color], where)
        classes.append(ListedClass(fields[name_at] or str(value), value, color))
    return classes


def _number_column(columns: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> int | None:
    """The column of the classes' numbers: "label" and "class" only where they are no names but whole numbers."""
    for each in _NUMBERS:
        if each in columns and each != name:
            place = columns.index(each)
            if each not in _NAMES or all(re.fullmatch(r"\d{1,9}", fields[place]) for fields in rows):
                return place
    return None


def _from_lines(path: Path) -> list[ListedClass]:
    """A line a class: its name; its number and its name, where every line begins so; or three numbers of its colour and
    its name, as CamVid's label_colors.txt has it. Empty lines and those that begin with # say nothing.
    """
    text = read_regular_file(path, MAX_LIST_BYTES).decode("utf-8-sig", "replace")
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    numbered = [re.fullmatch(r"(\d{1,9})\s*[\s:,;=]\s*([^\d\s].*)", line) for line in lines]
    if all(numbered):
        return [ListedClass(each[2], int(each[1])) for each in numbered if each]
    classes = []
    for place, line in enumerate(lines):
        colored = re.fullmatch(r"(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})\s+(\S.*)", line)
        if colored:
            classes.append(
                ListedClass(colored[4], place, _color(list(colored.groups()[:3]), f"{path}, line {place + 1}"))
            )
        else:
            classes.append(ListedClass(line, place))
    return classes


def _whole(text: str, where: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise DataError(f"{where}: {text!r} is no number of a class")
    return int(text)


def _color(texts: Sequence[str], where: str) -> int:
    numbers = [_whole(text, where) for text in texts]
    if max(numbers) > 255:
        raise InputError(f"{where}: the colour {', '.join(texts)} is outside 0 to 255")
    return numbers[0] << 16 | numbers[1] << 8 | numbers[2]
