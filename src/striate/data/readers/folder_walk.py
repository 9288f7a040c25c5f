"""The files below a folder of images: one walk, which every command that is given a folder takes.

Links are followed, never in circles. Passed over, and named: what systems and programs leave behind (`SYSTEM_NAMES`,
and folders whose name begins with a dot), folders that may not be read, links that lead nowhere, and what a run of
striate wrote. What is named is collected in a `Findings`, whose `notices()` are lines for the user.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from striate.data.decoding import image_suffixes
from striate.data.readers.access import printable
from striate.errors import DataError

SYSTEM_NAMES = frozenset(
    {
        "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@sharebin", "@transcode",  # NAS
        "$recycle.bin", "recycler", "recycled", "system volume information", "found.000",  # Windows
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",
        "__macosx", "network trash folder", "temporary items", "icon\r",  # macOS
        "lost+found", "lost&found", "ipynb_checkpoints", "__pycache__",
    }
)  # fmt: skip
"""Files and folders that hold nobody's data, in lower case: thumbnails and recycle bins of network storage, of Windows
and of macOS, what a file system's repair saved, and what notebooks and Python keep. Hidden ones (.Trash,
.ipynb_checkpoints, .thumbnails, .@__thumb, ...) need no list: their name begins with a dot.
"""
RUN_FILE = "run.json"
"""The file that makes a folder a run."""
_MOST_ENDINGS = 5
_MOST_VISITS = 16
"""A folder that many links lead to is walked so many times: links to links could double the work at every level."""


@dataclass
class Findings:
    """What one or several walks came upon besides files; paths are relative to the folder that was named."""

    left_behind: list[str] = field(default_factory=list)
    circles: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    revisited: list[str] = field(default_factory=list)
    visits: Counter[str] = field(default_factory=Counter)

    def notices(self) -> tuple[str, ...]:
        """A line for each kind of thing that was passed over."""
        kinds = (
            ("folders that cannot be read", self.unreadable),
            ("links that lead nowhere", self.dangling),
            ("links that lead back to a folder above them, not followed", self.circles),
            (f"folders that more than {_MOST_VISITS} links lead to, passed over from then on", self.revisited),
            ("passed over, hidden or left behind by a system", self.left_behind),
            ("passed over, written by a run of striate", self.runs),
        )
        return tuple(f"{what}: {listed(paths)}" for what, paths in kinds if paths)


def walk_files(root: Path, below: str, findings: Findings) -> Iterator[str]:
    """Every file at any depth below `root / below` ("" for root itself), relative to root, in the order of names.

    Links that lead nowhere and pipes count as files where their names end as images do, so that reading them names
    them.
    """
    real_root = os.path.realpath(root)
    above = frozenset((real_root, *map(str, Path(real_root).parents)))
    here = os.path.realpath(root / below)
    if below and here in above:  # a link that was named by somebody who walked root himself
        findings.circles.append(below)
        return
    yield from _walk(root, below, above, findings)


def folders_in(folder: Path, findings: Findings | None = None, below: str = "") -> list[os.DirEntry[str]]:
    """The subfolders, by name, without what nobody's data lie in; DataError where `folder` cannot be read."""
    return [entry for entry in entries_in(folder, findings, below) if is_folder(entry)]


def entries_in(folder: Path, findings: Findings | None = None, below: str = "") -> list[os.DirEntry[str]]:
    """What lies in a folder, by name, without what is hidden or left behind; DataError where it cannot be read.

    What was passed over goes into `findings`, under its path relative to the folder named, which `below` leads to.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    return [entry for entry in found if not _is_passed_over(entry, findings, below)]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; a link to itself or into what may not be seen is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_image(path: str) -> bool:
    """Whether a file's name ends as those of images do that striate can read, in any case."""
    return os.path.splitext(path)[1].lower() in image_suffixes()


def listed(names: Sequence[str]) -> str:
    """How many, and the first few: "4 (a.txt, b.txt, c.txt, ...)"."""
    shown = ", ".join(printable(name) for name in names[:3])
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names):,} ({shown}{more})"


def by_ending(paths: Sequence[str]) -> str:
    """Their number and the first names; how many of which ending where there are several; what to do about photos of
    telephones.
    """
    endings = Counter(os.path.splitext(path)[1].lower() or "without an ending" for path in paths)
    line = listed(paths)
    if len(endings) > 1 and len(paths) > 3:
        shown = ", ".join(f"{count:,} {printable(ending)}" for ending, count in endings.most_common(_MOST_ENDINGS))
        more = f" and {len(endings) - _MOST_ENDINGS:,} more endings" if len(endings) > _MOST_ENDINGS else ""
        line = f"{line}: {shown}{more}"
    return f"{line}; .heic: convert to JPEG first" if {".heic", ".heif"} & endings.keys() else line


def _walk(root: Path, start: str, above: frozenset[str], findings: Findings) -> Iterator[str]:
    """The files below `root / start`; no recursion, since folders can be nested deeper than Python's calls."""
    real = os.path.realpath(root / start)
    waiting = [(iter(_visit(root, start, real, findings)), start, real, above | {real})]
    while waiting:
        entries, below, here, seen = waiting[-1]
        entry = next(entries, None)
        if entry is None:
            waiting.pop()
            continue
        path = joined(below, entry.name)
        if not is_folder(entry):
            if _leads_nowhere(entry) and not is_image(entry.name):
                findings.dangling.append(path)
            else:
                yield path
            continue
        # only a link can lead elsewhere; asking for every folder's real path would take as many steps as it is deep
        there = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(here, entry.name)
        if there in seen:
            findings.circles.append(path)
        else:
            waiting.append((iter(_visit(root, path, there, findings)), path, there, seen | {there}))


def _visit(root: Path, below: str, here: str, findings: Findings) -> list[os.DirEntry[str]]:
    """What lies in a folder, really `here`, that has not been visited too often; nothing, and that is found, where it
    cannot serve.
    """
    if below and os.path.isfile(os.path.join(here, RUN_FILE)):
        findings.runs.append(below)
        return []
    findings.visits[here] += 1
    if findings.visits[here] > _MOST_VISITS:
        findings.revisited.append(below)
        return []
    try:
        return entries_in(root / below, findings, below)
    except DataError:
        if not below:
            raise
        findings.unreadable.append(below)
        return []


def joined(below: str, name: str) -> str:
    """The path, relative to the folder named, of what lies in `below`."""
    return f"{below}/{name}" if below else name


def _is_passed_over(entry: os.DirEntry[str], findings: Findings | None, below: str) -> bool:
    """Whether an entry is nobody's data. Hidden files that are no images (.DS_Store) are not worth a word."""
    is_hidden = entry.name.startswith(".")
    if not is_hidden and entry.name.lower() not in SYSTEM_NAMES:
        return False
    if findings is not None and (not is_hidden or is_folder(entry) or is_image(entry.name)):
        findings.left_behind.append(joined(below, entry.name))
    return True


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and not os.path.exists(entry.path)
    except OSError:
        return True
