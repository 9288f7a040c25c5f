"""Names of classes that may not be what their owner meant: a missing value, or one class written in two ways."""

import unicodedata
from collections.abc import Sequence

import numpy as np

_MISSING = frozenset(
    {"", "nan", "none", "null", "na", "n/a", "#n/a", "<na>", "nat", "nil", "missing", "undefined", "-", "?"}
)
"""What spreadsheets and programs write where there is no value, in lower case."""
_NAMED = 5


def spelling_notices(class_names: Sequence[str], labels: np.ndarray) -> tuple[str, ...]:
    """Lines for the user about the classes of `labels` (N,) int64, which index `class_names`: names that look like
    missing values, and names that differ by case or blanks alone. They stay the classes they are.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    notices = [
        f"{counts[place]:,} image{'s have' if counts[place] != 1 else ' has'} the class {name!r}, which looks like a "
        "missing value; give them their class, or take them out"
        for place, name in enumerate(class_names)
        if name.strip().lower() in _MISSING and counts[place]
    ]
    alike: dict[str, list[str]] = {}
    for name in class_names:
        alike.setdefault(_without_case_and_blanks(name), []).append(name)
    doubled = [" and ".join(repr(name) for name in names) for names in alike.values() if len(names) > 1]
    if doubled:
        more = f"; and {len(doubled) - _NAMED:,} more" if len(doubled) > _NAMED else ""
        shown = "; ".join(doubled[:_NAMED])
        notices.append(
            f"classes that differ by case or blanks only: {shown}{more}; if they are the same, spell them alike"
        )
    return tuple(notices)


def _without_case_and_blanks(name: str) -> str:
    """The name folded: blanks of every kind and signs of no width left out."""
    visible = "".join(sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
    return "".join(visible.split()).casefold()
