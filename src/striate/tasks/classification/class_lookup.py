"""Class names that a user types, found among a model's."""

import difflib
from collections.abc import Sequence

from striate.errors import InputError

_MOST_SHOWN = 5


def find_class(class_names: Sequence[str], wanted: str) -> int:
    """The index of the class called `wanted`: by its name, by one of its comma-separated names, or by its number.

    Case does not matter. "crane" also finds "crane (n02012849)". Raises InputError where several classes are meant, which are named, or
    none, with near misses.
    """
    if wanted in class_names:
        return list(class_names).index(wanted)
    lowered = [name.lower() for name in class_names]
    key = wanted.strip().lower()
    found = [place for place, name in enumerate(lowered) if name == key]
    found = found or [place for place, name in enumerate(lowered) if key in _aliases(name)]
    if len(found) > 1:
        named = "; ".join(f"{class_names[place]} (number {place})" for place in found[:_MOST_SHOWN])
        raise InputError(f"{wanted!r} means {len(found)} classes: {named}; name one in full or by its number")
    if found:
        return found[0]
    if key.isdecimal() and int(key) < len(class_names):
        return int(key)
    if key.isdecimal():
        raise InputError(
            f"class {wanted} is none of the model's {len(class_names)}: numbers go from 0 to {len(class_names) - 1}"
        )
    near = difflib.get_close_matches(key, dict.fromkeys(lowered), n=3, cutoff=0.5)
    near = near or [name for name in lowered if key and key in name][:3]
    hint = (
        f"did you mean {', '.join(class_names[lowered.index(name)] for name in near)}?"
        if near
        else _some_of(class_names)
    )
    raise InputError(f"no class of the model is called {wanted!r}; {hint}")


def _aliases(name: str) -> set[str]:
    """The names in "tench, Tinca tinca (n01440764)" without what stands in brackets."""
    plain = name.partition(" (")[0]
    return {plain, *(part.strip() for part in plain.split(","))}


def _some_of(class_names: Sequence[str]) -> str:
    shown = ", ".join(class_names[:_MOST_SHOWN])
    return f"its classes are {shown}" + (
        f" and {len(class_names) - _MOST_SHOWN} more" if len(class_names) > _MOST_SHOWN else ""
    )
