"""k nearest neighbours, exact: distances in blocks, k by leave-one-out. N known images, n queries, D features, K
classes.

Cover & Hart 1967 (doi:10.1109/TIT.1967.1053964). Of equally many votes the class with the nearest image wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from striate.errors import InputError
from striate.evaluation.nearest import check_count, nearest_by, nearest_rows
from striate.progress import Track, track_silently

METRICS = ("l1", "l2")
COUNTS = (1, 3, 5, 7, 9, 11, 15, 21, 31)
"""Numbers of neighbours that are tried."""
_MOST_COPIES = 8


@dataclass(frozen=True)
class NeighborChoice:
    """The number of neighbours with the best leave-one-out accuracy, and that accuracy, found on `num_images`
    images.
    """

    num_neighbors: int
    accuracy: float
    num_images: int


def nearest_places(
    known: np.ndarray, queries: np.ndarray, count: int, metric: str, *, track: Track = track_silently
) -> np.ndarray:
    """Places (n, count) in known (N, D) of the rows nearest to queries (n, D), nearest first, of equally near ones the
    first.

    "l2" goes through blocked matrix products, "l1" through blocked sums of absolute differences, which take some ten
    times as long. InputError for another metric, or unless 1 <= count <= N.
    """
    if metric not in METRICS:
        raise InputError(f"metric must be {' or '.join(METRICS)} but is {metric!r}")
    if metric == "l2":
        return nearest_rows(known, queries, count, track=track)[0]
    check_count(count, len(known))
    rows, asked = (np.ascontiguousarray(each, np.float32) for each in (known, queries))

    def differences(part: np.ndarray) -> np.ndarray:
        found: np.ndarray = torch.cdist(torch.from_numpy(part), torch.from_numpy(rows), p=1).numpy()
        return found

    return nearest_by(differences, asked, len(rows), count, "nearest neighbours, L1", track)[0]


def neighbor_votes(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Votes (n, K) of the neighbours' labels (n, k), nearest first: a vote each, and less than one more by which ties
    are broken.
    """
    num_queries, count = labels.shape
    votes = np.zeros((num_queries, num_classes))
    nearness = np.zeros((num_queries, num_classes))
    rows = np.arange(num_queries)
    for place in range(count - 1, -1, -1):
        votes[rows, labels[:, place]] += 1
        nearness[rows, labels[:, place]] = (count - place) / (count + 1)
    return votes + nearness


def choose_num_neighbors(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    num_classes: int,
    metric: str,
    *,
    most_queries: int,
    counts: Sequence[int] = COUNTS,
    track: Track = track_silently,
) -> NeighborChoice:
    """The number of neighbours by leave-one-out: each of up to `most_queries` evenly spread images asks all others.

    features (N, D), labels (N,), groups (N,) numbers copies alike, which do not answer for each other. Of equally
    accurate numbers the smallest is taken.
    """
    asked = np.unique(np.linspace(0, len(labels) - 1, min(most_queries, len(labels))).astype(np.int64))
    most = min(max(counts), max(1, len(labels) - 1))
    width = min(len(labels), most + 1 + _MOST_COPIES)
    places = nearest_places(features, features[asked], width, metric, track=track)
    is_own = groups[places] == groups[asked][:, None]
    order = np.argsort(is_own, axis=1, kind="stable")[:, :most]  # the image itself and its copies go to the end
    found = labels[np.take_along_axis(places, order, axis=1)]
    allowed = [count for count in counts if count <= most] or [1]
    accuracies = [
        float((neighbor_votes(found[:, :count], num_classes).argmax(axis=1) == labels[asked]).mean())
        for count in allowed
    ]
    best = int(np.argmax(accuracies))
    return NeighborChoice(allowed[best], accuracies[best], len(asked))
