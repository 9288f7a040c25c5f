"""Exact nearest neighbours by blocked matrix products, and what they vote for. N known images, n queries, D features, K
classes.
"""

import numpy as np

from striate.errors import InputError
from striate.progress import Track, track_silently

_BLOCK_BYTES = 64_000_000
NUM_VOTERS = 15


def nearest_rows(known: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` rows of known (N, D) nearest to each query (n, D) by Euclidean distance: places (n, count) and
    squared distances.

    Nearest first, of equally near ones the first; squared distances are |q|^2 - 2 q.x + |x|^2 and never below 0. Memory
    is a block of queries times N. Raises InputError unless 1 <= count <= N.
    """
    if not 1 <= count <= len(known):
        raise InputError(f"the number of neighbours must lie in [1, {len(known)}] but is {count}")
    center = known.mean(axis=0)  # distances between near points lose fewer digits
    known, queries = (known - center).astype(np.float32), (queries - center).astype(np.float32)
    norms = np.einsum("nd,nd->n", known, known)
    places = np.empty((len(queries), count), np.int64)
    squares = np.empty((len(queries), count), np.float32)
    block = max(1, _BLOCK_BYTES // (4 * len(known)))
    for start in range(0, len(queries), block):
        part = queries[start : start + block]
        found = norms - 2 * (part @ known.T)
        found += np.einsum("nd,nd->n", part, part)[:, None]
        np.maximum(found, 0, out=found)
        chosen = np.argpartition(found, count - 1, axis=1)[:, :count]
        own = np.take_along_axis(found, chosen, axis=1)
        order = np.lexsort((chosen, own), axis=1)
        places[start : start + block] = np.take_along_axis(chosen, order, axis=1)
        squares[start : start + block] = np.take_along_axis(own, order, axis=1)
    return places, squares


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
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = features / np.maximum(lengths, 1e-12)
    votes = np.full((len(labels), num_classes), 0.5)
    numbers = np.unique(folds).tolist()
    for fold in track(numbers, "asking neighbours of other folds", len(numbers)):
        held = np.flatnonzero(folds == fold)
        others = np.flatnonzero(folds != fold)
        count = min(num_voters, len(others))
        places, _ = nearest_rows(directions[others], directions[held], count)
        np.add.at(votes, (np.repeat(held, count), labels[others[places]].ravel()), 1)
    return votes / votes.sum(axis=1, keepdims=True)
