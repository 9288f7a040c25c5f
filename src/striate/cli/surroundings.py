"""What a command may find itself in: closed streams, encodings without our characters, a quota of processors."""

import codecs
import os
import sys

from striate.data.parallel import num_processors, num_processors_of_affinity

_LOOKALIKES = {
    "█": "#", "━": "-", "╸": "-", "╺": "-", "─": "-", "│": "|", "–": "-", "—": "-", "·": "-", "•": "*", "…": "...",
    "×": "x", "→": "->", "≥": ">=", "≤": "<=", "±": "+-", "µ": "u", "\N{NO-BREAK SPACE}": " ",
    "\N{NARROW NO-BREAK SPACE}": " ", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
_HANDLER = "striate-lookalikes"


def prepare_surroundings() -> None:
    """Make standard streams usable, and keep PyTorch within the processors that a container may use.

    A stream that is closed goes nowhere; characters that its encoding lacks are shown by plainer ones. OMP_NUM_THREADS
    is set where a quota allows fewer processors than there are, unless somebody has set it. To be called before torch
    is imported.
    """
    _fill_closed_descriptors()
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as the process lasts
    codecs.register_error(_HANDLER, _with_lookalikes)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)
    if num_processors() < num_processors_of_affinity():
        os.environ.setdefault("OMP_NUM_THREADS", str(num_processors()))


def _fill_closed_descriptors() -> None:
    """Put the null device where descriptors 0 to 2 are closed, so that no file of ours is opened as one of them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _with_lookalikes(error: UnicodeError) -> tuple[str, int]:
    """For characters that cannot be encoded: a plainer one that looks alike, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    plain = "".join(_LOOKALIKES.get(char) or char.encode("ascii", "backslashreplace").decode() for char in found)
    return plain, error.end
