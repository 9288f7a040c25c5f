"""The images that one would leave out of a source, as a list for `striate train --exclude`."""

from collections.abc import Iterator
from pathlib import Path

from striate.data.cache import write_atomically
from striate.data.dataset import SPLITS, Dataset
from striate.errors import InputError
from striate.evaluation.data_checks import DataChecks
from striate.printable import printable

_ORDER = {SPLITS.index("test"): 0, SPLITS.index("validation"): 1, SPLITS.index("train"): 2}


def exclusion_list(checks: DataChecks, dataset: Dataset) -> str:
    """One name a line, below a line beginning with # that says why: unreadable and blank images, copies and near
    duplicates.

    Of copies in one class one stays, that of the test part before validation and training; of those in several classes
    none does, since nobody knows which is right. Names that no line can hold are told in a line beginning with #.
    """
    lines = [f"# images of {printable(dataset.source)} to leave out, for: striate train SOURCE --exclude FILE"]
    listed: set[str] = set()
    for why, names in _reasons(checks, dataset):
        new = [name for name in dict.fromkeys(names) if name not in listed]
        listed.update(new)
        if new:
            lines.append(f"# {why} ({len(new):,})")
            lines += [_line(name) for name in new]
    return "\n".join(lines) + "\n"


def write_exclusion_list(checks: DataChecks, dataset: Dataset, path: str | Path) -> tuple[Path, int]:
    """Write the list, replacing what is there, and give its path and how many images it names. InputError where it
    cannot be written.
    """
    path, text = Path(path), exclusion_list(checks, dataset)
    try:
        write_atomically(path, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; write it elsewhere") from None
    return path, sum(not line.startswith("#") for line in text.splitlines())


def _reasons(checks: DataChecks, dataset: Dataset) -> Iterator[tuple[str, list[str]]]:
    places = {dataset.images.name(index): index for index in range(len(dataset))}
    conflicts = {*checks.summary.conflicts, *checks.near_conflicts}
    yield "cannot be read", [name for name, _ in checks.summary.broken if name in places]
    yield "blank", list(checks.image_flaws.get("blank", ()))
    yield "the same image in several classes", [name for group in conflicts for name in sorted(group)]
    for why, groups in (("copies", checks.summary.copies), ("near duplicates", checks.near_duplicates)):
        spare = []
        for group in groups:
            if group not in conflicts:
                best = min(
                    group, key=lambda name: (_ORDER.get(int(dataset.given_splits[places[name]]), 3), places[name])
                )
                spare += [name for name in group if name != best]
        yield why, spare


def _line(name: str) -> str:
    if printable(name) != name or name != name.strip():
        return f"# no line can hold the name {printable(name)!r}; take the image away by hand"
    return f"./{name}" if name.startswith("#") else name
