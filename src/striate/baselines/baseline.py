"""What majority, nearest neighbours and linear classifiers reach on a source: the figures that a network has to
beat.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from striate.baselines.linear import LinearFit, choose_penalty, fit_linear
from striate.baselines.neighbors import METRICS, choose_num_neighbors, nearest_places, neighbor_votes
from striate.data.dataset import SPLITS, Dataset
from striate.data.decoding import image_facts
from striate.data.opening import Access, open_data, pack_data
from striate.data.packed import PreparedImages
from striate.data.sketch import make_sketch
from striate.data.splits import digest, split_dataset
from striate.errors import DataError, InputError
from striate.evaluation.class_probabilities import class_probabilities_of
from striate.evaluation.evaluate_model import open_parts, own_data
from striate.evaluation.frozen_features import frozen_features
from striate.evaluation.label_errors import PIXELS, pixel_rows, signed_roots, square_side
from striate.evaluation.nearest import directions
from striate.notebook import Shown
from striate.tasks.catalogue import TASKS, USUAL_TASK, check_suits
from striate.tasks.intervals import fraction_of
from striate.tasks.model import Model
from striate.units import percent

KINDS = ("majority", "knn_l2", "knn_l1", "linear_svm", "softmax")
"""Every baseline, in the order in which they are measured."""
_TITLES = {
    "majority": "majority class",
    "knn_l2": "k nearest neighbours, L2",
    "knn_l1": "k nearest neighbours, L1",
    "linear_svm": "linear SVM",
    "softmax": "softmax regression",
}
_LOSS_OF = {"linear_svm": "hinge", "softmax": "softmax"}
_CHOICE_QUERIES = {"l2": 5_000, "l1": 500}
_MOST_DIFFERENCES = 1e11
"""Absolute differences that the neighbours by L1 may take: about half a minute of one core. Beyond, fewer images are
asked about.
"""
_SIZES_TRIED = 50


@dataclass(frozen=True)
class Baseline:
    """One baseline: its accuracy on `num_images` images with the 95 % Wilson interval, and the setting it chose for
    itself.

    `setting` is "k = 3", "penalty 0.01", or the class that the majority is of. `seconds` is what choosing, fitting and
    asking took.
    """

    kind: str
    title: str
    setting: str
    accuracy: float
    interval: tuple[float, float]
    num_images: int
    seconds: float


@dataclass(frozen=True, repr=False)
class Baselines(Shown):
    """The baselines of a source on its `split` part, in the order of KINDS, fitted on `num_fitted` images.

    `features` is "pixels" or the network whose features they saw; `pixel_side` the side of the square that pixels were.
    `models` are the fits by kind of those that are linear, `network` the accuracy of the model that was named, on the
    same images. `predicted` (n,) are the classes that each kind predicted and `labels` (n,) the right ones.
    `trained_on` is what a model file says of its data, so that a saved baseline finds its splits again.
    """

    source: str
    split: str
    features: str
    num_fitted: int
    num_images: int
    class_names: tuple[str, ...]
    baselines: tuple[Baseline, ...]
    pixel_side: int | None = None
    network: Baseline | None = None
    channels: int = 3
    trained_on: dict[str, Any] = field(default_factory=dict, compare=False)
    models: dict[str, LinearFit] = field(default_factory=dict, compare=False)
    predicted: dict[str, np.ndarray] = field(default_factory=dict, compare=False)
    labels: np.ndarray | None = field(default=None, compare=False)

    @property
    def best(self) -> Baseline:
        """The most accurate one, of equal ones the first."""
        return max(self.baselines, key=lambda each: each.accuracy)

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        rows = [(each.title, percent(each.accuracy)) for each in self.baselines]
        return "striate baselines", (("source", self.source), ("part", self.split), *rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without fits and predictions."""
        names = ("source", "split", "features", "pixel_side", "num_fitted", "num_images")
        return {
            **{name: getattr(self, name) for name in names},
            "num_classes": len(self.class_names),
            "best": self.best.kind,
            "baselines": [asdict(each) for each in self.baselines],
            "network": None if self.network is None else asdict(self.network),
        }


def baseline(
    source: str | Path | None = None,
    *,
    run: Model | None = None,
    features_of: Model | None = None,
    kinds: tuple[str, ...] = KINDS,
    seed: int = 0,
    batch_size: int = 32,
    access: Access | None = None,
) -> Baselines:
    """Measure baselines on the part of a source that a network is evaluated on, fitted on the others.

    The splits are those `train` makes with this seed, or those of the model `run` on its own data, whose accuracy on
    the same images then stands beside them. With a test part they are evaluated on it, and fitted on training and
    validation images (linear classifiers only on the former: saved, they are calibrated on the latter); without, they
    are evaluated on the validation part and fitted on the training images. Baselines see pixels (their own size up to
    32, else 32 x 32), or the features of `features_of`, a frozen network. What they choose for themselves (k, penalty)
    they choose on images they are fitted on. InputError for a kind that is none of KINDS, DataError for a source
    without two classes.

    `kinds` are those of KINDS to measure, all by default.
    """
    access = access or Access()
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise InputError(f"baselines are {', '.join(KINDS)} but not {unknown[0]}")
    if not kinds:
        raise InputError(f"name at least one baseline of {', '.join(KINDS)}")
    task = _of_source(source, features_of, seed, access) if run is None else _of_run(run, source, access)
    packed, asked, fitted = task.packed, task.asked, task.fitted
    if len(asked) == 0 or len(np.unique(task.labels[fitted])) < 2:
        raise DataError(
            f"{task.dataset.source} has {len(fitted)} images to fit on and {len(asked)} to evaluate on; a baseline "
            "needs two classes"
        )
    own = None if run is None else class_probabilities_of(run, packed, asked, batch_size=batch_size).argmax(axis=1)
    if run is not None and features_of is not None and features_of.preprocessing != run.preprocessing:
        packed = pack_data(open_data(task.dataset.source, access), features_of.preprocessing, access)
    every = np.concatenate([fitted, asked])
    side = _stored_side(task.dataset)
    rows = (
        pixel_rows(packed, every, side)
        if features_of is None
        else signed_roots(frozen_features(features_of, packed, every, batch_size=batch_size, track=access.track))
    )
    found = measure_baselines(
        rows[: len(fitted)],
        task.labels[fitted],
        np.unique(task.hashes[fitted], axis=0, return_inverse=True)[1].reshape(-1),
        rows[len(fitted) :],
        task.labels[asked],
        task.class_names,
        kinds=kinds,
        use_directions=features_of is not None,
        linear_rows=np.isin(fitted, task.train),
        seed=seed,
        access=access,
    )
    network = None
    if own is not None and run is not None:
        right = fraction_of(int((own == task.labels[asked]).sum()), len(asked))
        network = Baseline("network", run.network_name, "", right.value, right.interval, len(asked), 0.0)
        found.predicted["network"] = own
    return Baselines(
        source=task.dataset.source,
        split=task.split,
        features="pixels" if features_of is None else features_of.network_name,
        num_fitted=len(fitted),
        num_images=len(asked),
        class_names=task.class_names,
        baselines=tuple(found.baselines),
        pixel_side=side if features_of is None else None,
        network=network,
        channels=1 if packed.is_grey else packed.channels,
        trained_on=task.trained_on,
        models=found.models,
        predicted=found.predicted,
        labels=task.labels[asked],
    )


@dataclass(frozen=True, eq=False)
class _Images:
    """Images to fit on and to evaluate on: readable indices of `packed`, `labels` (N,) and `hashes` (N, 16) of all
    images.
    """

    dataset: Dataset
    packed: PreparedImages
    labels: np.ndarray
    hashes: np.ndarray
    class_names: tuple[str, ...]
    split: str
    fitted: np.ndarray
    asked: np.ndarray
    train: np.ndarray
    trained_on: dict[str, Any]

    @classmethod
    def of_parts(cls, parts: dict[str, np.ndarray], packed: PreparedImages, **others: Any) -> "_Images":
        split = "test" if len(parts["test"]) else "validation"
        both = np.concatenate([parts["train"], parts["validation"]])
        fitted = np.sort(both if split == "test" else parts["train"])
        fitted, asked = fitted[packed.usable[fitted]], parts[split][packed.usable[parts[split]]]
        return cls(packed=packed, split=split, fitted=fitted, asked=asked, train=parts["train"], **others)


def _of_source(source: str | Path | None, features_of: Model | None, seed: int, access: Access) -> _Images:
    """The splits that `train` makes of a source."""
    if source is None:
        raise InputError("expected a SOURCE, or a run that says which data it was trained on; name a SOURCE")
    data = open_data(source, access)
    check_suits(TASKS[USUAL_TASK], data.dataset)
    side = _stored_side(data.dataset)
    pixels = dataclasses.replace(PIXELS, resize_size=side, crop_size=(side, side))
    packed = pack_data(data, pixels if features_of is None else features_of.preprocessing, access)
    splits = split_dataset(data.dataset, data.hashes, packed.usable, seed=seed)
    trained_on = {
        "source": data.dataset.source,
        "fingerprint": data.fingerprint,
        "data_dir": None if access.data_dir is None else str(access.data_dir),
        "max_pixels": access.max_pixels,
        "edits": data.edits.to_json() if data.edits else None,
        "splits": {"digest": digest(splits), "seed": seed, "validation_fraction": 0.1, "test_fraction": 0.1},
        "train_sketch": make_sketch(data.hashes[splits.train]),
    }
    return _Images.of_parts(
        {name: splits[name] for name in SPLITS},
        packed,
        dataset=data.dataset,
        labels=data.dataset.labels,
        hashes=data.hashes,
        class_names=data.dataset.class_names,
        trained_on=trained_on,
    )


def _of_run(run: Model, source: str | Path | None, access: Access) -> _Images:
    """The splits that a model was trained with, or those that another source gives."""
    if not run.task.has_probabilities:
        raise InputError(f"baselines are for classification but this model is for {run.task.name}; name a SOURCE")
    opened = open_parts(run, source, access)
    return _Images.of_parts(
        opened.parts,
        opened.packed,
        dataset=opened.dataset,
        labels=opened.labels,
        hashes=opened.hashes,
        class_names=run.class_names,
        trained_on=(own_data(run.provenance) or {}) if opened.is_own else {},
    )


@dataclass(frozen=True, eq=False)
class Measured:
    """Baselines as measured, with what they predicted (n,) by kind, and the linear fits."""

    baselines: list[Baseline]
    models: dict[str, LinearFit]
    predicted: dict[str, np.ndarray]


def measure_baselines(
    fitted: np.ndarray,
    fitted_labels: np.ndarray,
    groups: np.ndarray,
    asked: np.ndarray,
    asked_labels: np.ndarray,
    class_names: tuple[str, ...],
    *,
    kinds: tuple[str, ...] = KINDS,
    use_directions: bool = False,
    linear_rows: np.ndarray | None = None,
    seed: int = 0,
    access: Access | None = None,
) -> Measured:
    """Baselines fitted on features (N, D) with labels (N,), evaluated on features (n, D) with labels (n,).

    `groups` (N,) numbers copies alike. With `use_directions` neighbours are those by features of length 1, as suits a
    network's. `linear_rows` (N,) bool are those that linear classifiers are fitted on, all by default.
    """
    access = access or Access()
    measured = Measured([], {}, {})
    num_classes = len(class_names)
    near = [directions(part) for part in (fitted, asked)] if use_directions else [fitted, asked]

    def neighbors(metric: str) -> tuple[np.ndarray, str]:
        per_query = fitted.size if metric == "l1" else 1
        most = max(1, int(_MOST_DIFFERENCES / per_query))
        chosen = choose_num_neighbors(
            near[0], fitted_labels, groups, num_classes, metric,
            most_queries=min(_CHOICE_QUERIES[metric], max(50, most // 5)), track=access.track,
        )  # fmt: skip
        rows = _spread(len(asked), most)
        places = nearest_places(near[0], near[1][rows], chosen.num_neighbors, metric, track=access.track)
        predicted = np.full(len(asked), -1)
        predicted[rows] = neighbor_votes(fitted_labels[places], num_classes).argmax(axis=1)
        return predicted, f"k = {chosen.num_neighbors}"

    def linear(kind: str) -> tuple[np.ndarray, str]:
        loss = _LOSS_OF[kind]
        rows, labels = (
            (fitted, fitted_labels) if linear_rows is None else (fitted[linear_rows], fitted_labels[linear_rows])
        )
        penalty = choose_penalty(rows, labels, num_classes, loss=loss, seed=seed)
        fit = fit_linear(rows, labels, num_classes, loss=loss, penalty=penalty)
        measured.models[kind] = fit
        return fit.scores(asked).argmax(axis=1), f"penalty {penalty:.2g}"

    def majority() -> tuple[np.ndarray, str]:
        commonest = int(np.bincount(fitted_labels, minlength=num_classes).argmax())
        return np.full(len(asked), commonest), class_names[commonest]

    jobs: dict[str, Callable[[], tuple[np.ndarray, str]]] = {
        "majority": majority,
        **{f"knn_{metric}": lambda metric=metric: neighbors(metric) for metric in METRICS},  # type: ignore[misc]
        **{kind: lambda kind=kind: linear(kind) for kind in _LOSS_OF},  # type: ignore[misc]
    }
    for kind in access.track([kind for kind in KINDS if kind in kinds], "fitting baselines", len(kinds)):
        began_at = time.perf_counter()
        predicted, setting = jobs[kind]()
        was_asked = predicted >= 0
        hits = int((predicted[was_asked] == asked_labels[was_asked]).sum())
        share = fraction_of(hits, int(was_asked.sum()))
        seconds = round(time.perf_counter() - began_at, 2)
        measured.predicted[kind] = predicted
        measured.baselines.append(
            Baseline(kind, _TITLES[kind], setting, share.value, share.interval, int(was_asked.sum()), seconds)
        )
    return measured


def _spread(count: int, most: int) -> np.ndarray:
    """At most so many places of 0..count-1, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _stored_side(dataset: Dataset) -> int:
    """The side of the pixels that baselines of a source see, by an even sample of its images."""
    sizes = []
    for index in _spread(len(dataset), _SIZES_TRIED).tolist():
        try:
            facts = image_facts(dataset.images.read(index))
        except (OSError, InputError):
            continue  # packing will name it, with the reason
        sizes.append((facts.height, facts.width))
    return square_side(np.array(sizes, np.int64).reshape(-1, 2))
