"""Searches an index for the images most like others, and says where model or images are no longer those it was made of.

N images of the index, n queries, D features.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.decoding import decode_picture
from striate.data.hashing import hash_image
from striate.data.opening import Access
from striate.data.preprocessing import resample
from striate.data.readers.columns import columns_from_json
from striate.errors import DataError, InputError
from striate.evaluation.nearest import most_similar
from striate.explanation.pictures import as_rgb
from striate.explanation.pictures_of_source import Pictures
from striate.notebook import Shown
from striate.retrieval.cells import NUM_PROBES, search_cells
from striate.retrieval.collection import content_of, open_collection
from striate.retrieval.index_file import ImageIndex, load_index
from striate.retrieval.layer import FeatureLayer, digest_of, features_of
from striate.tasks.model import Model, load_model
from striate.tasks.predictions import ImageLike, PredictionError, in_batches, name_images, read_image

UNCHANGED, CHANGED, GONE, UNKNOWN = "unchanged", "changed", "gone", "unknown"
_THUMBNAIL_PX = 160


@dataclass(frozen=True)
class Hit:
    """An image of the index: its name, class, and place there; `value` is its cosine with the query or its distance.

    `state` says whether the source still has it: "unchanged", "changed" since, "gone", or "unknown" where the source
    cannot be opened.
    """

    path: str
    label: str | None
    value: float
    place: int
    state: str


@dataclass(frozen=True)
class Query:
    """One image and the images most like it, best first."""

    path: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True, repr=False)
class SearchResult(Shown):
    """What a search found. `compared` is the fraction of the index's images that a query was compared with, 1 where the
    search was exact. `thumbnails` are small pictures (h, w, 3) uint8 by path for queries and by place for hits.
    """

    source: str
    layer: str
    metric: str
    num_images: int
    compared: float
    queries: tuple[Query, ...]
    errors: tuple[PredictionError, ...]
    thumbnails: dict[str | int, np.ndarray] = field(default_factory=dict)

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        nearest = ", ".join(hit.path for query in self.queries[:1] for hit in query.hits[:3])
        return "striate search", (("images", f"{self.num_images:,}"), ("queries", len(self.queries)), ("hits", nearest))

    @property
    def is_exact(self) -> bool:
        """Whether every image was compared."""
        return self.compared >= 1

    def to_json(self) -> dict[str, Any]:
        """{"source", "layer", "metric", "num_images", "compared", "queries": [{"path", "hits": [{"path", "label",
        "value", "place", "state"}]}], "errors": [{"path", "reason"}]}
        """
        return {
            "source": self.source,
            "layer": self.layer,
            "metric": self.metric,
            "num_images": self.num_images,
            "compared": self.compared,
            "queries": [{"path": query.path, "hits": [asdict(hit) for hit in query.hits]} for query in self.queries],
            "errors": [asdict(error) for error in self.errors],
        }


def search_index(
    index: ImageIndex | str | Path,
    images: ImageLike | Iterable[ImageLike],
    *,
    top: int = 10,
    model: str | Path | None = None,
    exact: bool = False,
    num_probes: int = NUM_PROBES,
    with_thumbnails: bool = False,
    device: str = "auto",
    access: Access | None = None,
) -> SearchResult:
    """The `top` images of an index most like each image, or each image of a folder.

    `model` is where the index's model is now, if not where it was. An index with cells looks into `num_probes` of them
    unless `exact`. Each image found is compared with the source's by its bytes. Raises InputError where the model is
    another than the index was made with, and where no image can be read.

    `index` is what `load_index` gives, or its file; `with_thumbnails` keeps pictures, for a page.
    """
    access = access or Access()
    if not isinstance(index, ImageIndex):
        index = load_index(index)
    if top < 1:
        raise InputError(f"top must be at least 1 but is {top}")
    loaded = model_of(index, model, device, access)
    top = min(top, len(index))
    names, features, thumbnails, errors = _queries(loaded, index, images, with_thumbnails)
    if not names:
        reasons = "; ".join(f"{each.path} {each.reason}" for each in errors[:3])
        raise InputError(f"none of the images to search for can be read: {reasons or 'there is none'}")
    compared = 1.0
    if index.centers is None or index.cell_stops is None or exact:
        places, values = most_similar(index.features, features, top, index.metric)
    else:
        places, values, compared = search_cells(
            index.features, index.centers, index.cell_stops, features, top, index.metric, num_probes=num_probes
        )
    states, seen = _look_up(index, np.unique(places), with_thumbnails, access)
    found = tuple(
        Query(
            name,
            tuple(
                Hit(index.names[place], index.class_of(place), float(value), place, states[place])
                for place, value in zip(own.tolist(), near, strict=True)
            ),
        )
        for name, own, near in zip(names, places, values, strict=True)
    )
    return SearchResult(
        index.source, index.place, index.metric, len(index), compared, found, tuple(errors), {**thumbnails, **seen}
    )


def model_of(index: ImageIndex, model: str | Path | None, device: str, access: Access) -> Model:
    """The model that an index was made with; InputError where it is not there any more, or another."""
    where = index.model if model is None else model
    if model is None and os.path.isabs(where) and not os.path.exists(where):
        raise InputError(f"the index was made with {where}, which is not there any more; say where it is with --model")
    loaded = load_model(where, device=device, download=access.download, log=access.log)
    if digest_of(loaded) != index.digest:
        raise InputError(
            f"{where} is not the model that the index was made with, or has changed since; make the index again: "
            f"striate index {index.source} --model {where}"
        )
    return loaded


def changed_images(index: ImageIndex, access: Access) -> dict[str, list[str]]:
    """Names of the images that the source has otherwise than the index: {"changed": [...], "gone": [...], "new":
    [...]}.

    Raises DataError where the source cannot be opened.
    """
    pictures = _open_source(index, access)
    place_of = {name: place for place, name in enumerate(pictures.names)}
    states = {
        name: _state(pictures, place_of.get(name), row) for name, row in zip(index.names, index.hashes, strict=True)
    }
    found = {kind: [name for name, state in states.items() if state == kind] for kind in (CHANGED, GONE)}
    return {**found, "new": [name for name in pictures.names if name not in states]}


def _queries(
    model: Model, index: ImageIndex, images: ImageLike | Iterable[ImageLike], with_thumbnails: bool
) -> tuple[list[str], np.ndarray, dict[str | int, np.ndarray], list[PredictionError]]:
    """Names and features of the images to search for, and which cannot be read."""
    layer = FeatureLayer(index.layer, index.is_input)
    names: list[str] = []
    rows: list[np.ndarray] = []
    thumbnails: dict[str | int, np.ndarray] = {}
    errors: list[PredictionError] = []
    for batch in in_batches(name_images(images), 32):
        read = [read_image(name, image, model.preprocessing) for name, image in batch]
        errors += [each for each in read if isinstance(each, PredictionError)]
        readable = [each for each in read if not isinstance(each, PredictionError)]
        if not readable:
            continue
        rows.append(features_of(model, np.stack([each.pixels for each in readable]), layer))
        names += [each.name for each in readable]
        if with_thumbnails:
            thumbnails |= {each.name: _thumbnail(each.pixels) for each in readable}
    if rows and rows[0].shape[1] != index.features.shape[1]:
        raise InputError(
            f"{index.place} gives {rows[0].shape[1]} features, the index has {index.features.shape[1]}; make it anew"
        )
    return names, np.concatenate(rows) if rows else np.zeros((0, 1), np.float32), thumbnails, errors


def _look_up(
    index: ImageIndex, places: np.ndarray, with_thumbnails: bool, access: Access
) -> tuple[dict[int, str], dict[str | int, np.ndarray]]:
    """Of images found the state, and small pictures of those that are still there."""
    try:
        pictures = _open_source(index, access)
    except DataError as error:
        access.log(f"the images found cannot be compared with the source: {error}")
        return dict.fromkeys(places.tolist(), UNKNOWN), {}
    place_of = {name: place for place, name in enumerate(pictures.names)}
    states: dict[int, str] = {}
    thumbnails: dict[str | int, np.ndarray] = {}
    for place in places.tolist():
        own = place_of.get(index.names[place])
        states[place] = _state(pictures, own, index.hashes[place])
        if with_thumbnails and own is not None and states[place] != GONE:
            try:
                thumbnails[place] = _thumbnail(np.asarray(decode_picture(content_of(pictures, own), 3)))
            except (InputError, OSError, MemoryError) as error:
                access.log(f"{index.names[place]} cannot be shown: {error}")
    for kind, what in ((CHANGED, "changed"), (GONE, "gone")):
        if num := sum(state == kind for state in states.values()):
            verb = "has" if num == 1 else "have"
            access.log(f"{num} of the images found {verb} {what} since the index was made; make it again")
    return states, thumbnails


def _open_source(index: ImageIndex, access: Access) -> Pictures:
    data_dir, columns = access.data_dir or index.data_dir, columns_from_json(index.columns)
    quiet = replace(access, data_dir=data_dir, columns=columns, log=lambda _: None)
    if os.path.isabs(index.source) and not os.path.exists(index.source):
        raise DataError(f"{index.source} is not there any more")
    return open_collection(index.source, quiet)


def _state(pictures: Pictures, place: int | None, hashed: np.ndarray) -> str:
    """Whether a source's image still is the one of this hash."""
    if place is None:
        return GONE
    try:
        return UNCHANGED if hash_image(content_of(pictures, place)) == hashed.tobytes() else CHANGED
    except OSError:
        return GONE


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """An image (H, W, C) uint8, its longer side reduced to _THUMBNAIL_PX, (h, w, 3)."""
    rgb = as_rgb(pixels if pixels.ndim == 3 else pixels[..., None])
    height, width = rgb.shape[:2]
    ratio = min(1.0, _THUMBNAIL_PX / max(height, width))
    return resample(rgb, (max(1, round(ratio * height)), max(1, round(ratio * width))), "bilinear")
