"""The interface to a library of other people's networks."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.networks.entry import Weights


@dataclass(frozen=True)
class LibraryFacts:
    """Facts about one network of a library. `size` is (height, width), the only one if `is_fixed_size`, as
    far as the library knows; `title` says what and whose it is.

    `auxiliary` names the parts that only training uses; `preprocessing` is what the makers' weights expect, and
    `rename` gives a parameter's name for that in their older files.
    """

    title: str
    paper: str
    size: tuple[int, int]
    is_fixed_size: bool
    num_classes: int
    preprocessing: Preprocessing
    weights: tuple[Weights, ...] = ()
    auxiliary: tuple[str, ...] = ()
    rename: Callable[[str], str] | None = None


@dataclass(frozen=True)
class Library:
    """`facts(name)` checks the name and raises InputError with one line; `build(name, in_channels, num_classes)` gives
    fresh weights from torch's global generator and downloads nothing. `example` is one of its networks.
    """

    facts: Callable[[str], LibraryFacts]
    build: Callable[[str, int, int], nn.Module]
    example: str


def unknown_name(library: str, name: str, names: Iterable[str]) -> InputError:
    """The error for a name that a library does not have, with near misses."""
    near = difflib.get_close_matches(name.lower(), list(names), n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(f'{library}:{each}' for each in near)}?" if near else ""
    return InputError(f"{library} has no network called {name!r}{hint}")
