"""A class by the name that a person types."""

import difflib
from collections.abc import Sequence

from striate.errors import InputError


def find_class(text: str, class_names: Sequence[str]) -> int:
    """The index of the class with this name, or this number where no class is called so; case does not matter.

    Raises InputError where no class has it, with near misses, and where several have it, with their numbers.
    """
    wanted = text.strip().casefold()
    exact = [index for index, name in enumerate(class_names) if name == text]
    found = exact or [index for index, name in enumerate(class_names) if name.casefold() == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = ", ".join(map(str, found[:5]))
        raise InputError(f"{len(found)} classes are called {text!r}, numbers {numbers}; give a number")
    if wanted.isdecimal():
        if int(wanted) < len(class_names):
            return int(wanted)
        raise InputError(f"class {wanted} was asked for but the model has classes 0 to {len(class_names) - 1}")
    folded = {name.casefold(): name for name in class_names}
    inside = [name for name in class_names if wanted and wanted in name.casefold()]
    near = inside[:4] or [folded[each] for each in difflib.get_close_matches(wanted, list(folded), n=3, cutoff=0.6)]
    hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(class_names[:4])} ..."
    raise InputError(f"the model has no class {text!r}; {hint}")
