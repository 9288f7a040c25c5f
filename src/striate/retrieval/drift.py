"""Whether new images are of the same kind as old ones: two-sample tests on what a network makes of them.

n old and m new images, D features, K classes.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from striate.data.opening import Access
from striate.data.preprocessing import resample
from striate.errors import InputError
from striate.evaluation.familiarity import feature_distances, features_and_logits
from striate.evaluation.nearest import directions
from striate.evaluation.two_sample import TwoSampleTest, classes_test, discrepancy_test
from striate.explanation.measure import as_inputs
from striate.explanation.pictures import as_rgb
from striate.explanation.pictures_of_source import Pictures, open_pictures
from striate.networks.restore import evaluating
from striate.notebook import Shown
from striate.retrieval.layer import FeatureLayer, features_at, find_layer
from striate.tasks.classification.logits import class_logits
from striate.tasks.model import Model

FEWEST = 20
"""So many readable images on each side at least."""
_NEAREST = 3
_EXAMPLE_PX = 128


@dataclass(frozen=True)
class StrangeImage:
    """A new image and the distance of its features, of length 1, from the third nearest old one's: 0 to 2. `predicted`
    is what a classifier names.
    """

    path: str
    distance: float
    predicted: str | None


@dataclass(frozen=True)
class ClassShare:
    """The fractions of old and of new images that the model names so."""

    name: str
    old: float
    new: float


@dataclass(frozen=True, repr=False)
class Drift(Shown):
    """What two tests say. `features` compares what the network makes of images; `predictions` the classes it names,
    None for a model that is no classifier. `has_drifted` where one p-value, doubled for there being two, is below
    `level`. `strangest` are new images, the farthest from old ones first; `examples` their thumbnails, (h, w, 3) uint8.
    """

    old: str
    new: str
    num_old: int
    num_new: int
    layer: str
    level: float
    features: TwoSampleTest
    predictions: TwoSampleTest | None
    classes: tuple[ClassShare, ...]
    strangest: tuple[StrangeImage, ...]
    examples: tuple[np.ndarray, ...] = field(default=(), compare=False)

    @property
    def has_drifted(self) -> bool:
        tests = [each for each in (self.features, self.predictions) if each is not None]
        return min(each.p_value for each in tests) * len(tests) < self.level

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        return "striate drift", (
            ("old", f"{self.old}, {self.num_old:,} images"),
            ("new", f"{self.new}, {self.num_new:,} images"),
            ("has drifted", self.has_drifted),
            ("p-value of features", self.features.p_value),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "has_drifted": self.has_drifted,
            **{name: getattr(self, name) for name in ("old", "new", "num_old", "num_new", "layer", "level")},
            "features": asdict(self.features),
            "predictions": None if self.predictions is None else asdict(self.predictions),
            "classes": [asdict(each) for each in self.classes],
            "strangest": [asdict(each) for each in self.strangest],
        }


@dataclass(frozen=True, eq=False)
class _Seen:
    """Of the images that could be read: places in their source, features (n, D), predictions (n,) or None."""

    places: list[int]
    features: np.ndarray
    predicted: np.ndarray | None


def find_drift(
    model: Model,
    old: str | Path,
    new: str | Path,
    *,
    layer: str | None = None,
    limit: int = 1_000,
    level: float = 0.05,
    num_strangest: int = 12,
    batch_size: int = 32,
    seed: int = 0,
    access: Access | None = None,
) -> Drift:
    """Test whether `new` images are drawn from where `old` ones are, as the model sees them.

    `old` and `new` are sources as for training, or folders without classes; at most `limit` images of each, drawn by
    the seed, are looked at. `layer` names the features, by default what the last layer with weights is given. `level`
    is the fraction of sets without drift that are called drifted all the same. Raises InputError for fewer than FEWEST
    readable images on a side.

    So many of the new images that are least like old ones are named as `num_strangest` says.
    """
    access = access or Access()
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1 but is {level:g}")
    place = find_layer(model, layer)
    sources = [open_pictures(each, access) for each in (old, new)]
    seen = [_look(model, each, place, limit, batch_size, seed, access) for each in sources]
    for name, each in zip((old, new), seen, strict=True):
        if len(each.places) < FEWEST:
            raise InputError(
                f"{name} has {len(each.places)} readable images; a test for drift needs at least {FEWEST} on each side"
            )
    before, after = (directions(each.features) for each in seen)
    distances = feature_distances(before, after, _NEAREST)
    order = np.argsort(-distances, kind="stable")[:num_strangest]
    names = model.class_names
    named = [each.predicted for each in seen if each.predicted is not None]
    return Drift(
        old=str(old),
        new=str(new),
        num_old=len(before),
        num_new=len(after),
        layer=place.name,
        level=level,
        features=discrepancy_test(before, after, seed=seed),
        predictions=classes_test(named[0], named[1], len(names), seed=seed) if named else None,
        classes=_shares(named[0], named[1], names) if named else (),
        strangest=tuple(
            StrangeImage(
                sources[1].names[seen[1].places[row]],
                float(distances[row]),
                None if seen[1].predicted is None else names[int(seen[1].predicted[row])],
            )
            for row in order.tolist()
        ),
        examples=tuple(_thumbnail(model, sources[1], seen[1].places[row]) for row in order.tolist()),
    )


def _look(
    model: Model, pictures: Pictures, layer: FeatureLayer, limit: int, batch_size: int, seed: int, access: Access
) -> _Seen:
    chosen = np.sort(np.random.default_rng(seed).permutation(len(pictures))[:limit])
    places: list[int] = []
    rows, named = [], []
    batches = pictures.batches(model.preprocessing, batch_size, access.log, indices=chosen.tolist())
    for indices, pixels in access.track(batches, "computing features", -(-len(chosen) // batch_size)):
        inputs = as_inputs(model, list(pixels))
        places += indices
        if model.task.has_probabilities and layer.is_input:  # both in one pass
            features, logits = features_and_logits(model.network, inputs, layer.name)
            rows.append(features)
            named.append(logits.argmax(axis=1))
            continue
        rows.append(features_at(model, inputs, layer))
        if model.task.has_probabilities:
            with evaluating(model.network), torch.no_grad():
                named.append(class_logits(model.network(inputs)).argmax(dim=1).cpu().numpy())
    features = np.concatenate(rows) if rows else np.zeros((0, 1), np.float32)
    return _Seen(places, features, np.concatenate(named) if named else None)


def _shares(old: np.ndarray, new: np.ndarray, names: tuple[str, ...]) -> tuple[ClassShare, ...]:
    """Every class that is named at all, what changed most first."""
    shares = [np.bincount(each, minlength=len(names)) / len(each) for each in (old, new)]
    order = np.argsort(-np.abs(shares[1] - shares[0]), kind="stable").tolist()
    return tuple(
        ClassShare(names[each], float(shares[0][each]), float(shares[1][each]))
        for each in order
        if shares[0][each] or shares[1][each]
    )


def _thumbnail(model: Model, pictures: Pictures, index: int) -> np.ndarray:
    """The image as the model sees it, enlarged or reduced, (h, w, 3) uint8."""
    found = pictures.pixels(index, model.preprocessing)
    assert isinstance(found, tuple)
    pixels = as_rgb(found[1])
    factor = _EXAMPLE_PX / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[0] * factor)), max(1, round(pixels.shape[1] * factor)))
    result: np.ndarray = resample(pixels, size, "bilinear")
    return result
