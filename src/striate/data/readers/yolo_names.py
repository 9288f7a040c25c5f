"""The class names of YOLO's text files: from `data.yaml` or another .yaml with `names`, `classes.txt`, `obj.names` or
`classes.csv`.
"""

import re
from pathlib import Path
from typing import Any

from striate.data.files import read_regular_file
from striate.data.readers.table import read_class_names
from striate.errors import DataError
from striate.printable import excerpt

MAX_YAML_BYTES = 1_000_000
MAX_TEXT_BYTES = 10_000_000
_MOST_CLASSES = 10_000
_HAS_NAMES = re.compile(r"^(\{.*)?['\"]?names['\"]?\s*:", re.MULTILINE)


def yolo_class_names(folder: Path) -> tuple[str, ...]:
    """The names in the order of their numbers; none where no file of the folder tells them. DataError for a file that
    is damaged.
    """
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        if path.is_file() and (names := _yaml_names(path)):
            return names
    for name in ("classes.txt", "obj.names", "labels/classes.txt"):
        if (folder / name).is_file():
            lines = read_regular_file(folder / name, MAX_TEXT_BYTES).decode("utf-8-sig", "replace").splitlines()
            if names := tuple(line.strip() for line in lines if line.strip()):
                return names
    return _csv_names(folder / "classes.csv") if (folder / "classes.csv").is_file() else ()


def _yaml_names(path: Path) -> tuple[str, ...]:
    """What stands under `names` in a file of YOLO's settings, a list or numbers with names; nothing where there is no
    such entry.
    """
    text = read_regular_file(path, MAX_YAML_BYTES).decode("utf-8-sig", "replace")
    if not _HAS_NAMES.search(text):
        return ()
    import yaml  # where it is first needed: not every source has one

    try:
        content = yaml.load(
            text, yaml.BaseLoader
        )  # builds lists, mappings and texts only, so that a class may be called no or on
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise DataError(f"{path}{where}: no YAML: {excerpt(getattr(error, 'problem', None) or str(error))}") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply to be YOLO's settings") from None
    listed = content.get("names") if isinstance(content, dict) else None
    if isinstance(listed, str | None):  # the name of another file, as darknet has it
        return ()
    return _named(listed, path)


def _named(listed: Any, path: Path) -> tuple[str, ...]:
    """The names of a list, or of a mapping by number; a number that has none is its own name."""
    pairs = list(listed.items() if isinstance(listed, dict) else enumerate(listed))
    numbers = [str(number) for number, _ in pairs]
    is_sound = all(isinstance(name, str) for _, name in pairs) and all(map(str.isdecimal, numbers))
    if not is_sound or any(len(number) > len(str(_MOST_CLASSES)) for number in numbers):
        raise DataError(f"{path}: names should be a list of class names, or numbers from 0 up with a name each")
    by_number = {int(number): name.strip() for number, (_, name) in zip(numbers, pairs, strict=True)}
    count = 1 + max(by_number, default=-1)
    if count > _MOST_CLASSES:
        raise DataError(f"{path}: names go up to number {count - 1:,}; the limit is {_MOST_CLASSES:,} classes")
    return tuple(by_number.get(number) or str(number) for number in range(count))


def _csv_names(path: Path) -> tuple[str, ...]:
    """The names of a table with the columns index and name, or class (a number, or nothing) and name."""
    lines = [
        line.split(",") for line in read_regular_file(path, MAX_TEXT_BYTES).decode("utf-8-sig", "replace").splitlines()
    ]
    columns = [column.strip().lower() for column in lines[0]] if lines else []
    if "index" in columns:
        return read_class_names(path)
    if not {"class", "name"} <= set(columns):
        return ()
    number, name = columns.index("class"), columns.index("name")
    by_number = {row[number].strip(): row[name].strip() for row in lines[1:] if len(row) == len(columns)}
    found: list[str] = []
    while str(len(found)) in by_number:
        found.append(by_number[str(len(found))])
    return tuple(found)
