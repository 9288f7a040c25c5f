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


METRICS = ("cosine", "l2")
_SPARE_ROWS = 16
"""So many rows more than asked for are compared again in 64 bits, since 32 do not tell near ones apart."""
_TINY = 1e-12


def most_similar(
    known: np.ndarray, queries: np.ndarray, count: int, metric: str = "cosine", *, block_rows: int = 8192
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` rows of known (N, D) most similar to each query (n, D): places (n, count) and values (n, count)
    float64, best first.

    Values are cosines of the angle, in [-1, 1], a row of zeros having 0 with every other; or Euclidean distances for
    `metric` "l2". Of equal ones the first comes first. `known` may lie in a file: it is read in blocks of rows, and
    memory is a block. Raises InputError for another metric, and unless 1 <= count <= N and both have D columns.
    """
    _check_similar(known, queries, count, metric)
    queries = np.ascontiguousarray(queries, np.float32)
    kept = min(len(known), count + _SPARE_ROWS)
    places = np.empty((len(queries), count), np.int64)
    values = np.empty((len(queries), count))
    step = max(1, _BLOCK_BYTES // (4 * block_rows))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        candidates = _candidates(known, part, kept, metric, block_rows)
        for row, (query, own) in enumerate(zip(part, candidates, strict=True), start=start):
            exact = similarities(known[own], query, metric)
            order = np.lexsort((own, exact if metric == "l2" else -exact))[:count]
            places[row], values[row] = own[order], exact[order]
    return places, values


def similarities(rows: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    """The value of each row (M, D) with one query (D,), in 64 bits: (M,), see `most_similar`."""
    rows, query = np.asarray(rows, np.float64), np.asarray(query, np.float64)
    if metric == "l2":
        distances: np.ndarray = np.linalg.norm(rows - query, axis=1)
        return distances
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    cosines: np.ndarray = np.clip(rows @ query / np.maximum(lengths, np.finfo(float).tiny), -1, 1)
    return cosines


def _candidates(known: np.ndarray, queries: np.ndarray, kept: int, metric: str, block_rows: int) -> np.ndarray:
    """Places (n, kept) of the rows that 32-bit products say are the most similar, in no order."""
    center = np.zeros(known.shape[1], np.float32)
    if metric == "l2":
        center = np.asarray(known[:block_rows], np.float32).mean(axis=0)  # products of small numbers lose fewer digits
    given = queries - center
    best_places = np.empty((len(queries), 0), np.int64)
    best_scores = np.empty((len(queries), 0), np.float32)
    for start in range(0, len(known), block_rows):
        rows = np.asarray(known[start : start + block_rows], np.float32) - center
        scores = given @ rows.T
        squares = np.einsum("nd,nd->n", rows, rows)
        scores = 2 * scores - squares if metric == "l2" else scores / np.maximum(np.sqrt(squares), _TINY)
        here = np.broadcast_to(np.arange(start, start + len(rows)), scores.shape)
        scores = np.concatenate([best_scores, scores], axis=1)
        here = np.concatenate([best_places, here], axis=1)
        if scores.shape[1] > kept:
            chosen = np.argpartition(-scores, kept - 1, axis=1)[:, :kept]
            scores, here = (np.take_along_axis(each, chosen, axis=1) for each in (scores, here))
        best_scores, best_places = scores, here
    return best_places


def _check_similar(known: np.ndarray, queries: np.ndarray, count: int, metric: str) -> None:
    if metric not in METRICS:
        raise InputError(f"metric must be {' or '.join(METRICS)} but is {metric!r}")
    if known.ndim != 2 or queries.ndim != 2 or known.shape[1] != queries.shape[1]:
        raise InputError(f"expected rows and queries of as many numbers but got {known.shape} and {queries.shape}")
    if not 1 <= count <= len(known):
        raise InputError(f"the number of neighbours must lie in [1, {len(known)}] but is {count}")
