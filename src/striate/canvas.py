"""matplotlib, imported so that no variable of a notebook stands in the way; every room takes it from here."""

import logging
import os
from typing import Any


def _import_matplotlib() -> Any:
    """matplotlib, without the MPLBACKEND of a notebook: it would not be imported at all where that backend is not
    installed.

    What it would say of a home folder that cannot be written concerns nobody here.
    """
    backend = os.environ.pop("MPLBACKEND", None)
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib
        import matplotlib.figure  # fonts are looked for
    finally:
        log.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    return matplotlib


matplotlib = _import_matplotlib()
