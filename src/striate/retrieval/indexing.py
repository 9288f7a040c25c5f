"""Makes an index of a source's images: each read once, its features computed in batches or taken from an older index.

N images, D features.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from striate.data.opening import Access
from striate.data.readers.table import NO_COLUMNS
from striate.errors import InputError, ModelFileError
from striate.evaluation.nearest import METRICS
from striate.explanation.pictures_of_source import Pictures
from striate.retrieval.cells import fit_cells, usual_num_cells
from striate.retrieval.collection import ReadPicture, open_collection, read_each
from striate.retrieval.index_file import ImageIndex, load_index, write_index
from striate.retrieval.layer import FeatureLayer, digest_of, features_of, find_layer
from striate.tasks.model import Model, load_model


def index_images(
    source: str | Path,
    model: str | Path,
    out: str | Path,
    *,
    layer: str | None = None,
    metric: str = "cosine",
    num_cells: int | None = None,
    batch_size: int = 32,
    device: str = "auto",
    access: Access | None = None,
) -> ImageIndex:
    """Index the images of a source by what `layer` of a model gives for them, and write the index to `out`.

    `model` is what `load_model` takes; without a layer features are what its last layer with weights is given. `metric`
    is "cosine" or "l2". From a million images on, or where `num_cells` says so, rows are sorted into cells for an
    approximate search. Where `out` is an index by the same model and layer already, images whose bytes it knows are not
    computed again. Unreadable images are told and left out. Raises DataError, InputError and ModelFileError.
    """
    access = access or Access()
    if metric not in METRICS:
        raise InputError(f"metric must be {' or '.join(METRICS)} but is {metric!r}")
    if batch_size < 1 or (num_cells is not None and num_cells < 0):
        raise InputError(f"batch_size must be at least 1 and num_cells at least 0 but are {batch_size} and {num_cells}")
    loaded = load_model(model, device=device, download=access.download, log=access.log)
    found = find_layer(loaded, layer)
    digest = digest_of(loaded)
    pictures = open_collection(source, access)
    known = _known_features(out, digest, found)
    places, hashes, features, num_known = _features(loaded, pictures, found, known, batch_size, access)
    if num_known:
        access.log(f"{num_known:,} of {len(places):,} images were in {out} already and are not computed again")
    index = ImageIndex(
        source=_lasting(source),
        model=_lasting(model),
        network=loaded.network_name,
        digest=digest,
        layer=found.name,
        is_input=found.is_input,
        metric=metric,
        class_names=pictures.class_names,
        names=tuple(pictures.names[place] for place in places.tolist()),
        hashes=hashes,
        labels=np.asarray(pictures.labels, np.int64)[places],
        features=features,
        data_dir=None if access.data_dir is None else os.path.abspath(access.data_dir),
        columns=None if access.columns == NO_COLUMNS else access.columns.to_json(),
    )
    num_cells = usual_num_cells(len(index)) if num_cells is None else num_cells
    write_index(_in_cells(index, num_cells, access) if num_cells else index, out)
    return load_index(out)


def _features(
    model: Model,
    pictures: Pictures,
    layer: FeatureLayer,
    known: dict[bytes, np.ndarray],
    batch_size: int,
    access: Access,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Of the readable images: places in the source (N,), hashes (N, 16), features (N, D), and how many were known."""
    places: list[int] = []
    hashes: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    waiting: list[ReadPicture] = []
    num_known = 0

    def keep(each: ReadPicture, row: np.ndarray) -> None:
        if not np.isfinite(row).all():
            access.log(f"left out {pictures.names[each.place]}: the network gives NaN or infinity for it")
            return
        places.append(each.place)
        hashes.append(each.hash)
        rows.append(row)

    def compute() -> None:
        pixels = np.stack([each.pixels for each in waiting if each.pixels is not None])
        for each, row in zip(waiting, features_of(model, pixels, layer), strict=True):
            keep(each, row)
        waiting.clear()

    found = read_each(pictures, model.preprocessing, known.__contains__, access.log)
    for each in access.track(found, "computing features", len(pictures)):
        if each.pixels is None:
            num_known += 1
            keep(each, known[each.hash.tobytes()])
            continue
        waiting.append(each)
        if len(waiting) == batch_size:
            compute()
    if waiting:
        compute()
    if not rows:
        raise InputError("none of the images can be read, so there is nothing to index")
    order = np.argsort(places, kind="stable")
    return np.array(places)[order], np.stack(hashes)[order], np.stack(rows)[order], num_known


def _known_features(out: str | Path, digest: str, layer: FeatureLayer) -> dict[bytes, np.ndarray]:
    """Features by hash of an index at `out`, where it is by the same model and layer."""
    if not os.path.exists(out):
        return {}
    try:
        old = load_index(out)
    except ModelFileError as error:
        raise InputError(f"{out} is there already and no index ({error}); name another file to write") from None
    if (old.digest, old.layer, old.is_input) != (digest, layer.name, layer.is_input):
        return {}
    return {row.tobytes(): features for row, features in zip(old.hashes, np.array(old.features), strict=True)}


def _in_cells(index: ImageIndex, num_cells: int, access: Access) -> ImageIndex:
    """The same index, its rows sorted by cell."""
    centers, cells = fit_cells(index.features, num_cells, index.metric, track=access.track)
    order = np.argsort(cells, kind="stable")
    return replace(
        index,
        names=tuple(index.names[place] for place in order.tolist()),
        hashes=index.hashes[order],
        labels=index.labels[order],
        features=index.features[order],
        centers=centers,
        cell_stops=np.cumsum(np.bincount(cells, minlength=num_cells)),
    )


def _lasting(name: str | Path) -> str:
    """A path that is there from anywhere, or a name as it is."""
    return os.path.abspath(name) if os.path.exists(name) else str(name)
