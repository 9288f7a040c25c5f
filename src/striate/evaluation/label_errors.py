"""Find the labels of a source that are probably wrong. n readable images, D features, K classes."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.dataset import NO_SPLIT, SPLITS, Dataset
from striate.data.opening import Access, open_data, pack_data
from striate.data.packed import PreparedImages
from striate.data.preprocessing import Preprocessing, resample
from striate.errors import DataError, InputError
from striate.evaluation.confident_learning import rank_labels
from striate.evaluation.evaluate_model import open_own, own_data
from striate.evaluation.frozen_features import frozen_features
from striate.evaluation.nearest import out_of_fold_votes
from striate.evaluation.out_of_fold import out_of_fold_probabilities, stratified_folds
from striate.notebook import Shown
from striate.tasks.catalogue import TASKS, USUAL_TASK, check_suits
from striate.tasks.model import Model
from striate.units import percent

PIXEL_SIDE = 32
"""Without a network an image is its pixels, so many by so many."""
PIXELS = Preprocessing(
    channels=3,
    resize_size=PIXEL_SIDE,
    crop_size=(PIXEL_SIDE, PIXEL_SIDE),
    resize="stretch",
    mean=(0,) * 3,
    std=(1,) * 3,
)
_THUMBNAIL_PX = 120
LEAST_SKILL = 0.5
"""What features that tell classes apart get right of what always naming the commonest class gets wrong."""


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label is probably not `given` but `suggested`, with the out-of-fold probabilities of both.

    `is_confident`: by confident learning too, not only by the order. `index` is its place in the source.
    """

    path: str
    split: str
    given: str
    suggested: str
    self_confidence: float
    suggested_probability: float
    is_confident: bool
    index: int


@dataclass(frozen=True, repr=False)
class LabelErrors(Shown):
    """The labels of a source that are probably wrong, the least believable first.

    `num_estimated` of the `num_images` labels are wrong by confident learning; `accuracy` is the share of images whose
    most probable class out of fold is the given one. `features` names what the classifier saw. `thumbnails` (h, w, 3)
    uint8 go with the first issues.
    """

    source: str
    features: str
    num_images: int
    num_classes: int
    num_folds: int
    accuracy: float
    num_estimated: int
    issues: tuple[LabelIssue, ...]
    notices: tuple[str, ...] = ()
    thumbnails: tuple[np.ndarray, ...] = field(default=(), compare=False)

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        return "striate label errors", (
            ("source", self.source),
            ("images", f"{self.num_images:,}"),
            ("estimated wrong", f"{self.num_estimated:,}"),
            ("listed", f"{len(self.issues):,}"),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the thumbnails."""
        plain = {key: getattr(self, key) for key in _PLAIN}
        return {**plain, "notices": list(self.notices), "issues": [asdict(issue) for issue in self.issues]}


_PLAIN = ("source", "features", "num_images", "num_classes", "num_folds", "accuracy", "num_estimated")


def find_label_errors(
    source: str | Path | None = None,
    *,
    model: Model | None = None,
    num_folds: int = 10,
    seed: int = 0,
    batch_size: int = 32,
    num_thumbnails: int = 0,
    access: Access | None = None,
) -> LabelErrors:
    """Rank the labels of all images of a source by how little classifiers that did not see them believe them.

    Each of `num_folds` parts of the images is asked about from the others, copies kept together: the mean of softmax
    regression and of the 15 nearest images, on the roots of the features that the frozen network of `model` gives, or
    on 32 x 32 pixels without one. Without `source` the images are those `model` was trained on. Raises InputError for
    fewer than two folds, DataError for a source with fewer than two classes of two different images.

    `num_thumbnails` of the images are kept as pictures, for a page.
    """
    access = access or Access()
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1 but is {batch_size}")
    data = open_own(_trained_on(model), access) if source is None else open_data(source, access)
    check_suits(TASKS[USUAL_TASK], data.dataset)
    packed = pack_data(data, PIXELS if model is None else model.preprocessing, access)
    indices = np.flatnonzero(packed.usable & TASKS[USUAL_TASK](data.dataset.class_names).usable(data.dataset))
    labels = data.dataset.labels[indices]
    groups = np.unique(data.hashes[indices], axis=0, return_inverse=True)[1].reshape(-1)
    kept, notices = _comparable(data.dataset, labels, groups)
    indices, labels, groups = indices[kept], labels[kept], groups[kept]
    notices += _notice_of_training(data.fingerprint, model)
    for line in notices:
        access.log(line)
    features = (
        pixel_rows(packed, indices)
        if model is None
        else signed_roots(frozen_features(model, packed, indices, batch_size=batch_size, track=access.track))
    )
    folds = stratified_folds(labels, groups, num_folds, seed=seed)
    num_classes = len(data.dataset.class_names)
    fitted = out_of_fold_probabilities(features, labels, folds, num_classes, track=access.track)
    voted = out_of_fold_votes(features, labels, folds, num_classes, track=access.track)
    probabilities = (fitted + voted) / 2
    ranked = rank_labels(probabilities, labels)
    accuracy = float((ranked.suggested == labels).mean())
    commonest = float(np.bincount(labels).max() / len(labels))
    if accuracy - commonest < LEAST_SKILL * (1 - commonest):
        notices.append(weak_features(accuracy, commonest, has_network=model is not None))
        access.log(notices[-1])
    issues = [
        LabelIssue(
            path=data.dataset.images.name(int(indices[row])),
            split=_split_name(data.dataset, int(indices[row])),
            given=data.dataset.class_names[labels[row]],
            suggested=data.dataset.class_names[ranked.suggested[row]],
            self_confidence=float(ranked.self_confidence[row]),
            suggested_probability=float(probabilities[row, ranked.suggested[row]]),
            is_confident=bool(ranked.is_confident[row]),
            index=int(indices[row]),
        )
        for row in ranked.order
    ]
    return LabelErrors(
        source=data.dataset.source,
        features="pixels" if model is None else model.network_name,
        num_images=len(indices),
        num_classes=num_classes,
        num_folds=num_folds,
        accuracy=accuracy,
        num_estimated=ranked.num_estimated,
        issues=tuple(issues),
        notices=tuple(notices),
        thumbnails=tuple(thumbnail(packed, issue.index) for issue in issues[:num_thumbnails]),
    )


def weak_features(accuracy: float, commonest: float, *, has_network: bool) -> str:
    """A warning that labels are believed by features that hardly tell the classes apart."""
    what = "these features of images tell" if has_network else "32 x 32 pixels of images tell"
    better = "another network may do better" if has_network else "features of a network do better: --weights imagenet"
    return (
        f"{what} the classes apart poorly ({percent(accuracy, 1)} of the labels, and always the commonest class "
        f"{percent(commonest, 1)}), so most of the labels listed here are right; {better}"
    )


def signed_roots(features: np.ndarray) -> np.ndarray:
    """The root of each feature's size with its sign, which keeps a few large ones from deciding everything."""
    roots: np.ndarray = np.sign(features) * np.sqrt(np.abs(features))
    return roots


def pixel_rows(packed: PreparedImages, indices: np.ndarray, side: int = PIXEL_SIDE) -> np.ndarray:
    """Images of `packed` as rows (n, side * side * C) float32 in [0, 1], those of another size resized; grey ones with
    C = 1.
    """
    channels = 1 if packed.is_grey else packed.channels
    rows = np.empty((len(indices), side * side * channels), np.float32)
    for row, index in enumerate(indices.tolist()):
        image = packed.image(index)[..., :channels]
        image = image if image.shape[:2] == (side, side) else resample(image, (side, side), "bilinear")
        rows[row] = image.ravel() / np.float32(255)
    return rows


def square_side(sizes: np.ndarray) -> int:
    """The side of the square that images of these sizes (n, 2) all are, where it is at most PIXEL_SIDE; else
    PIXEL_SIDE.
    """
    if len(sizes) == 0 or (sizes != sizes[0]).any():
        return PIXEL_SIDE
    height, width = sizes[0].tolist()
    return int(height) if 1 <= height == width <= PIXEL_SIDE else PIXEL_SIDE


def thumbnail(packed: PreparedImages, index: int, longest_px: int = _THUMBNAIL_PX) -> np.ndarray:
    """An image as packed, reduced to a longest side of `longest_px` at most: (h, w, 3) uint8."""
    image = packed.image(index)
    factor = min(1.0, longest_px / max(image.shape[:2]))
    size = (max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor)))
    reduced = image if factor == 1 else resample(image, size, "bilinear")
    return np.repeat(reduced, 3, axis=2) if reduced.shape[2] == 1 else reduced[..., :3]


def _comparable(dataset: Dataset, labels: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(n,) bool: images of classes with two different images or more, and a line on the other classes. DataError
    without two such.
    """
    counts = np.zeros(len(dataset.class_names), np.int64)
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    np.add.at(counts, pairs[0], 1)
    enough = counts >= 2
    if enough.sum() < 2:
        raise DataError(
            f"{dataset.source} has {int(enough.sum())} classes with two different images or more; label errors need "
            "at least two"
        )
    few = [dataset.class_names[k] for k in np.flatnonzero(counts == 1)]
    line = f"left out {len(few)} classes with a single image, which nothing can be learnt of from the others: "
    return enough[labels], [line + ", ".join(few[:3]) + (", ..." if len(few) > 3 else "")] if few else []


def _notice_of_training(fingerprint: str, model: Model | None) -> list[str]:
    trained_on = None if model is None else own_data(model.provenance)
    if trained_on is None or trained_on["fingerprint"] != fingerprint:
        return []
    return [
        "the network was trained on these labels, so its features speak for them, wrong ones too: "
        "published weights or another network's find more"
    ]


def _trained_on(model: Model | None) -> dict[str, Any]:
    data = None if model is None else own_data(model.provenance)
    if data is None:
        raise InputError("expected a SOURCE, or a model that says which data it was trained on; name a SOURCE")
    return data


def _split_name(dataset: Dataset, index: int) -> str:
    number = int(dataset.given_splits[index])
    return "" if number == NO_SPLIT else SPLITS[number]
