"""The catalogue: one file a family, written from the papers. `striate.networks(...)` lists it, as `striate networks`
does.
"""

import sys
from types import ModuleType
from typing import Any


class _Catalogue(ModuleType):
    """This package, which can be called as well: the command `striate networks` and the function share a name with the
    room.
    """

    def __call__(self, **filters: Any) -> list[dict[str, Any]]:
        """The catalogue as rows of plain values, filtered and sorted as `striate.list_networks` says."""
        from striate.networks.catalogue import list_networks

        return list_networks(**filters)


sys.modules[__name__].__class__ = _Catalogue
