"""Exact nearest neighbours by blocked matrix products, and what they vote for. N known images, n queries, D features, K
classes.
"""

from collections.abc import Callable

import numpy as np

from striate.errors import InputError
from striate.progress import Track, track_silently

_BLOCK_BYTES = 64_000_000
NUM_VOTERS = 15


def nearest_rows(
    known: np.ndarray, queries: np.ndarray, count: int, *, track: Track = track_silently
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` rows of known (N, D) nearest to each query (n, D) by Euclidean distance: places (n, count) and
    squared distances.

    Nearest first, of equally near ones the first; squared distances are |q|^2 - 2 q.x + |x|^2 and never below 0. Memory
    is a block of queries times N. Raises InputError unless 1 <= count <= N.
    """
    check_count(count, len(known))
    center = known.mean(axis=0)  # distances between near points lose fewer digits
    known, queries = (known - center).astype(np.float32), (queries - center).astype(np.float32)
    norms = np.einsum("nd,nd->n", known, known)

    def squares(part: np.ndarray) -> np.ndarray:
        found = norms - 2 * (part @ known.T)
        found += np.einsum("nd,nd->n", part, part)[:, None]
        return np.maximum(found, 0, out=found)

    return nearest_by(squares, queries, len(known), count, "nearest neighbours, L2", track)


def nearest_by(
    distances_to: Callable[[np.ndarray], np.ndarray],
    queries: np.ndarray,
    num_known: int,
    count: int,
    what: str,
    track: Track,
) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, count) and distances of the nearest of `num_known` rows, a block of queries (n, D) after another.

    `distances_to` gives a block (b, D) its distances (b, N). Nearest first, of equally near ones the first. `what`
    stands beside the progress.
    """
    places = np.empty((len(queries), count), np.int64)
    distances = np.empty((len(queries), count), np.float32)
    block = max(1, _BLOCK_BYTES // (4 * num_known))
    starts = range(0, len(queries), block)
    for start in track(starts, what, len(starts)):
        found = distances_to(queries[start : start + block])
        chosen = np.argpartition(found, count - 1, axis=1)[:, :count]
        own = np.take_along_axis(found, chosen, axis=1)
        order = np.lexsort((chosen, own), axis=1)
        places[start : start + block] = np.take_along_axis(chosen, order, axis=1)
        distances[start : start + block] = np.take_along_axis(own, order, axis=1)
    return places, distances


def check_count(count: int, num_known: int) -> None:
    """Raise InputError unless there are so many rows to be neighbours."""
    if not 1 <= count <= num_known:
        raise InputError(f"the number of neighbours must lie in [1, {num_known}] but is {count}")


def directions(features: np.ndarray) -> np.ndarray:
    """Features (n, D) brought to length 1."""
    result: np.ndarray = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return result


def out_of_fold_votes(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    num_classes: int,
    *,
    num_voters: int = NUM_VOTERS,
    track: Track = track_silently,
) -> np.ndarray:
    """What the nearest images of other folds, by the angle between features, are labelled: probabilities (N, K), half a
    vote added to each class.
    """
    rows = directions(features)
    votes = np.full((len(labels), num_classes), 0.5)
    numbers = np.unique(folds).tolist()
    for fold in track(numbers, "asking neighbours of other folds", len(numbers)):
        held = np.flatnonzero(folds == fold)
        others = np.flatnonzero(folds != fold)
        count = min(num_voters, len(others))
        places, _ = nearest_rows(rows[others], rows[held], count)
        np.add.at(votes, (np.repeat(held, count), labels[others[places]].ravel()), 1)
    return votes / votes.sum(axis=1, keepdims=True)
