"""Message and progress callbacks, passed in by the outermost room, so that inner rooms never print."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

T = TypeVar("T")

Log = Callable[[str], None]
"""Takes one line that the user should see: a choice made, a file skipped, a layer adapted."""


class Track(Protocol):
    """Hands on the items of an iterable while showing how far it has come."""

    def __call__(self, items: Iterable[T], what: str, total: int) -> Iterable[T]:
        """Yield every item unchanged; `what` names the work ("decoding images"), `total` is the number of items."""
        ...


def log_nothing(line: str) -> None:
    """The Tell of a caller who wants to hear nothing."""


def track_silently(items: Iterable[T], what: str, total: int) -> Iterable[T]:  # noqa: ARG001
    """The Track of a caller who wants to see nothing."""
    return items
