"""One self-contained page with a data set laid out by a network's features: thumbnails on a plane, to zoom and drag."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from striate.printable import printable
from striate.reports.page import page_environment, write_page

_COLUMNS = 64
_NAMES = {"tsne": "t-SNE", "pca": "principal components"}


def write_feature_map(
    path: Path,
    title: str,
    places: Mapping[str, np.ndarray],
    thumbnails: np.ndarray,
    names: Sequence[str],
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Path:
    """Write the page: places (n, 2) in [0, 1] by kind of map, thumbnails (n, s, s, 3) uint8, names and labels (n,), -1
    for none.

    Names are data of the page and never markup. Raises InputError where the page cannot be written.
    """
    data = {
        "side": thumbnails.shape[1],
        "columns": _COLUMNS,
        "maps": [{"name": _NAMES.get(kind, kind), "places": each.round(5).tolist()} for kind, each in places.items()],
        "names": [printable(name) for name in names],
        "labels": labels.tolist(),
        "classes": [printable(name) for name in class_names],
    }
    script = json.dumps(data, allow_nan=False).replace("<", "\\u003c").replace("\u2028", "\\u2028")
    page = (
        page_environment({})
        .get_template("feature_map.html.jinja")
        .render(title=printable(title), data=Markup(script), sprite=_sprite(thumbnails), num_images=len(names))
    )
    return write_page(path, page)


def _sprite(thumbnails: np.ndarray) -> str:
    """All thumbnails in rows of 64 on one JPEG, as a data address."""
    count, side = thumbnails.shape[:2]
    rows = -(-count // _COLUMNS)
    padded = np.zeros((rows * _COLUMNS, side, side, 3), np.uint8)
    padded[:count] = thumbnails
    sheet = padded.reshape(rows, _COLUMNS, side, side, 3).swapaxes(1, 2).reshape(rows * side, _COLUMNS * side, 3)
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
