"""What was seen inside a network as pictures on the disk. Each function writes one file and gives its path."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from striate.explanation.filters import channel_tiles, filter_tiles, first_convolution, tile_picture
from striate.explanation.look import ImageFeatures, UnitPatches
from striate.explanation.neighbors import nearest
from striate.explanation.pictures import as_rgb, sheet
from striate.explanation.writing import file_name, npz, to_png, write_file
from striate.tasks.model import Model

_PATCH_PX = 96


def write_filters(folder: Path, model: Model, layer: str | None) -> tuple[str, Path]:
    """The filters of a convolution, by default the first; its name and the picture. Colours are those of RGB, whatever
    order the network takes.
    """
    layer = layer or first_convolution(model.network)
    tiles = filter_tiles(model.network, layer)
    if model.preprocessing.channel_order == "BGR" and layer == first_convolution(model.network):
        tiles = tiles[..., ::-1]
    path = folder / f"filters-{file_name(layer)}.png"
    write_file(path, to_png(Image.fromarray(tile_picture(tiles))))
    return layer, path


def write_activations(folder: Path, number: int, name: str, layer: str, maps: np.ndarray) -> tuple[Path, Path]:
    """The maps (C', h, w) of a layer for one image: a picture of tiles, and an npz with `maps`."""
    stem = f"{number:04d}-{file_name(Path(name).stem)}.{file_name(layer)}"
    array, picture = folder / f"{stem}.npz", folder / f"{stem}.png"
    write_file(array, npz(maps=maps, layer=layer))
    write_file(picture, to_png(Image.fromarray(tile_picture(channel_tiles(maps), tile_px=64))))
    return array, picture


def write_patches(folder: Path, layer: str, patches: Sequence[UnitPatches]) -> Path:
    """A row for each unit: the patches that excite it most, with their values."""
    rows = [
        [
            (f"{each.unit}: {value:.3g}\n{Path(name).name}", _square(patch))
            for value, name, patch in zip(each.values, each.names, each.patches, strict=True)
        ]
        for each in patches
    ]
    path = folder / f"patches-{file_name(layer)}.png"
    write_file(path, to_png(sheet(rows, title=f"What excites units of {layer} most")))
    return path


def write_neighbors(
    folder: Path,
    number: int,
    query: tuple[str, np.ndarray],
    features: np.ndarray,
    pixels: np.ndarray,
    found: ImageFeatures,
    names: Sequence[str],
    top: int,
) -> tuple[Path, list[dict[str, object]]]:
    """Two rows: the images nearest to a query in features, and in pixels below; the picture, and their names and
    distances.
    """
    rows, listed = [], []
    picture = _square(query[1])
    for kind, own, all_of_them in (("features", features, found.features), ("pixels", pixels, found.pixels)):
        places, distances = nearest(all_of_them, own, top)
        row = [(f"nearest by {kind}\n{Path(query[0]).name}", picture)]
        for place, distance in zip(places, distances, strict=True):
            name = names[found.indices[place]]
            row.append((f"{distance:.3g}\n{Path(name).name}", _square(found.thumbnails[place])))
            listed.append({"space": kind, "name": name, "distance": float(distance)})
        rows.append(row)
    path = folder / f"{number:04d}-{file_name(Path(query[0]).stem)}.neighbors.png"
    write_file(path, to_png(sheet(rows)))
    return path, listed


def _square(patch: np.ndarray) -> np.ndarray:
    """A patch (h, w, C) as (96, 96, 3), its pixels enlarged as they are."""
    filter_ = Image.Resampling.NEAREST if max(patch.shape[:2]) < _PATCH_PX else Image.Resampling.BILINEAR
    picture = Image.fromarray(np.ascontiguousarray(as_rgb(patch)))
    return np.asarray(picture.resize((_PATCH_PX, _PATCH_PX), filter_))
