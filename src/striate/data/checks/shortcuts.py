"""Shortcuts: what tells the class without looking at what is shown, such as size, camera or file name. N images, K
classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from striate.data.checks.image_statistics import ImageStatistics, name_pattern

MOST_IMAGES, FEWEST_A_CLASS = 20_000, 5
_NUM_FOLDS, _DEPTH = 5, 6
_SAVED, _SAVED_BY_COLOR = 0.4, 0.8
"""What fraction of the mistakes of always the commonest class a shortcut saves; colour says something of what is shown,
too.
"""
_PARTS: dict[str, Callable[[ImageStatistics], tuple[float | str, ...]]] = {
    "size in pixels": lambda each: (float(each.facts.width), float(each.facts.height)),
    "aspect ratio": lambda each: (each.facts.width / each.facts.height,),
    "bytes a pixel": lambda each: (each.size_bytes / (each.facts.width * each.facts.height),),
    "mode and format": lambda each: (each.facts.mode, each.facts.format),
    "JPEG quality": lambda each: (each.quality,),
    "camera in EXIF": lambda each: (each.camera,),
    "grey of the border": lambda each: (each.border,),
    "mean colour": lambda each: each.mean,
}
_OF_COLOR = ("mean colour", "grey of the border")


@dataclass(frozen=True)
class Shortcut:
    """`what` alone predicts the class with this accuracy, in five-fold cross-validation of a tree of depth 6, with its
    95 % interval; always the commonest class would reach `majority`.
    """

    what: str
    accuracy: float
    interval: tuple[float, float]
    majority: float


def find_shortcuts(
    statistics: Sequence[ImageStatistics | None],
    names: Sequence[str],
    labels: np.ndarray,
    interval: Callable[[int, int], tuple[float, float]],
) -> list[Shortcut]:
    """The suspicious shortcuts, the strongest first.

    By the lower end of its accuracy one saves two fifths of the mistakes that always the commonest class would make,
    colours four fifths. `interval` gives the bounds of so many hits of so many. Classes with fewer than five images are
    left out.
    """
    usable = np.array([place for place, each in enumerate(statistics) if each is not None], np.int64)
    if not len(usable):
        return []
    counts = np.bincount(labels[usable])
    usable = usable[counts[labels[usable]] >= FEWEST_A_CLASS]
    usable = np.sort(np.random.default_rng(0).permutation(usable)[:MOST_IMAGES])
    own = labels[usable]
    if len(np.unique(own)) < 2:
        return []
    majority = float(np.bincount(own).max() / len(own))
    values: dict[str, list[tuple[float | str, ...]]] = {
        what: [part(each) for place in usable if (each := statistics[place]) is not None]
        for what, part in _PARTS.items()
    }
    values["pattern of the file name"] = [(name_pattern(names[place]),) for place in usable]
    found = []
    for what, rows in values.items():
        if len(set(rows)) < 2:
            continue
        hits = _hits(_columns(rows), own)
        low, high = interval(hits, len(own))
        if low - majority > (_SAVED_BY_COLOR if what in _OF_COLOR else _SAVED) * (1 - majority):
            found.append(Shortcut(what, hits / len(own), (low, high), majority))
    return sorted(found, key=lambda each: -each.accuracy)


def _columns(rows: list[tuple[float | str, ...]]) -> np.ndarray:
    """Numbers as they are, words as the ten commonest or not: (n, columns)."""
    columns = []
    for column in zip(*rows, strict=True):
        if isinstance(column[0], str):
            words, counts = np.unique(np.array(column, dtype=str), return_counts=True)
            commonest = words[np.argsort(-counts, kind="stable")[:10]]
            columns += [np.array(column) == word for word in commonest]
        else:
            columns.append(np.array(column, float))
    return np.stack(columns, axis=1).astype(float)


def _hits(features: np.ndarray, labels: np.ndarray) -> int:
    """How many labels a small tree gets right that has not seen them."""
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    folds = StratifiedKFold(_NUM_FOLDS, shuffle=True, random_state=0)
    tree = DecisionTreeClassifier(max_depth=_DEPTH, min_samples_leaf=3, random_state=0)
    return int((cross_val_predict(tree, features, labels, cv=folds) == labels).sum())
