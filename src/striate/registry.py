"""Tables of named things: join the rooms' ENTRIES, list them, find one by name with near misses."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

from striate.errors import InputError


class Named(Protocol):
    """Anything with a name; a frozen dataclass as a rule."""

    @property
    def name(self) -> str: ...


E = TypeVar("E", bound=Named)
_MOST_NAMES = 20
"""More names than so many are not printed in a message."""


class Registry(Mapping[str, E]):
    """A read-only table from name to entry, in the order given.

    `kind` is the word used in messages ("network"). Raises ValueError when two entries share a name.
    """

    def __init__(self, kind: str, *tables: Iterable[E]) -> None:
        self.kind = kind
        self._entries: dict[str, E] = {}
        for table in tables:
            for entry in table:
                if entry.name in self._entries:
                    raise ValueError(f"two {kind}s are called {entry.name!r}")
                self._entries[entry.name] = entry

    def _listed(self) -> str:
        """The names, where they are few enough to be read."""
        if len(self._entries) > _MOST_NAMES:
            return f"there are {len(self._entries)}: see striate {self.kind}s"
        return f"there are: {', '.join(self._entries)}"

    def __getitem__(self, name: str) -> E:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str) -> E:
        """The entry called `name`; InputError with the nearest names where there is none."""
        if name in self._entries:
            return self._entries[name]
        near = difflib.get_close_matches(name.lower(), self._entries, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else self._listed()
        raise InputError(f"no {self.kind} is called {name!r}; {hint}")
