"""Values read back from a file in the cache: of the types that were written, or the file counts as damaged. Imports
nothing heavy.
"""

import math
from typing import Any

_MOST = 1e300


def stored_text(value: Any) -> str:
    """The value where it is text; else ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"text is expected where {_shown(value)} stands")
    return value


def stored_count(value: Any) -> int:
    """The value where it is a whole number from 0 that 63 bits hold; else ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"a whole number from 0 is expected where {_shown(value)} stands")
    return value


def stored_number(value: Any, *, above: float = -math.inf) -> float:
    """The value where it is a finite number above a bound; else ValueError."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not above < value < _MOST:  # NaN is neither above nor below
        raise ValueError(f"a number above {above:g} is expected where {_shown(value)} stands")
    return float(value)


def stored_flag(value: Any) -> bool:
    """The value where it is true or false; else ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"true or false is expected where {_shown(value)} stands")
    return value


def stored_list(value: Any) -> list[Any]:
    """The value where it is a list; else ValueError."""
    if not isinstance(value, list):
        raise ValueError(f"a list is expected where {_shown(value)} stands")
    return value


def stored_table(value: Any) -> dict[str, Any]:
    """The value where it is a table; else ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f"a table is expected where {_shown(value)} stands")
    return value


def _shown(value: Any) -> str:
    """The kind of a value, and no more of it: it may be a million numbers."""
    return type(value).__name__
