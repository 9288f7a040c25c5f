"""How good an index is, where its images have classes: each image is searched for among all others. n queries."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from striate.data.sketch import overlap
from striate.errors import InputError
from striate.evaluation.evaluate_model import own_data
from striate.evaluation.nearest import most_similar
from striate.retrieval.cells import NUM_PROBES, directed, search_cells
from striate.retrieval.index_file import ImageIndex
from striate.tasks.intervals import Fraction, fraction_of, mean_of
from striate.tasks.model import Model

RECALL_AT = (1, 5, 10)
_MOST_QUERIES, _LEAST_QUERIES, _MOST_COMPARISONS = 2000, 200, 100_000_000
_BLOCK_BYTES = 64_000_000


@dataclass(frozen=True)
class RetrievalFigures:
    """`recall_at`: the fraction of images with one of their class among the k nearest others, by k;
    `mean_average_precision`: of the ranking of all others, both with 95 % intervals; `chance`: the recall at 1 of one
    of the others drawn at random. `num_trained_on` of the queries are known to have been training images of the
    model's, of `num_told` that it can tell of. `cells_recall`: for an index with cells the fraction of the ten truly
    nearest that an approximate search finds.
    """

    num_queries: int
    recall_at: dict[int, Fraction]
    mean_average_precision: Fraction
    chance: float
    num_trained_on: int
    num_told: int
    cells_recall: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values: "recall_at" by k as text, each with "value" and "interval"."""
        values = asdict(self)
        values["recall_at"] = {str(k): asdict(each) for k, each in self.recall_at.items()}
        return values


def retrieval_figures(index: ImageIndex, *, model: Model | None = None, seed: int = 0) -> RetrievalFigures:
    """Recall at 1, 5 and 10 and mean average precision of an index, each image searched for among all others by class.

    Of many images a random sample are the queries, all others what is ranked. Images without a class or alone in
    theirs are no queries. `model` tells how many it was trained on. InputError where no two images have one class.
    """
    labels = np.asarray(index.labels)
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    eligible = np.flatnonzero((labels >= 0) & (sizes[np.maximum(labels, 0)] > 1))
    if not len(eligible):
        raise InputError("no two images of the index have one class, so there is nothing to measure it by")
    most = int(np.clip(_MOST_COMPARISONS // len(index), _LEAST_QUERIES, _MOST_QUERIES))
    chosen = eligible
    if len(eligible) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(eligible, most, replace=False))
    hits, precisions = _ranked(index, chosen)
    others = sizes[labels[chosen]] - 1
    known = None if model is None else own_data(model.provenance)
    told = overlap(known.get("train_sketch") if known else None, index.hashes[chosen])
    return RetrievalFigures(
        num_queries=len(chosen),
        recall_at={k: fraction_of(int((hits < k).sum()), len(chosen)) for k in RECALL_AT},
        mean_average_precision=mean_of(precisions),
        chance=float((others / (len(index) - 1)).mean()),
        num_trained_on=told.num_found,
        num_told=told.num_told,
        cells_recall=None if index.centers is None else cells_recall(index, chosen[:_LEAST_QUERIES]),
    )


def average_precision(is_relevant: np.ndarray) -> np.ndarray:
    """The mean of the precisions at the places of the relevant ones of rankings (n, N) bool: (n,); 0 where none is."""
    ranks = np.arange(1, is_relevant.shape[1] + 1)
    precisions = np.cumsum(is_relevant, axis=1) / ranks
    totals = is_relevant.sum(axis=1)
    result: np.ndarray = (precisions * is_relevant).sum(axis=1) / np.maximum(totals, 1)
    return result


def cells_recall(index: ImageIndex, queries: np.ndarray, *, top: int = 10, num_probes: int = NUM_PROBES) -> float:
    """The fraction of the `top` truly nearest of these images (n,) that a search of cells finds, too."""
    assert index.centers is not None
    assert index.cell_stops is not None
    top = min(top, len(index))
    rows = np.array(index.features[queries])
    exact, _ = most_similar(index.features, rows, top, index.metric)
    near, _, _ = search_cells(
        index.features, index.centers, index.cell_stops, rows, top, index.metric, num_probes=num_probes
    )
    shared = [len(np.intersect1d(one, other)) for one, other in zip(exact, near, strict=True)]
    return sum(shared) / (top * len(queries))


def _ranked(index: ImageIndex, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each query the place of the first other image of its class, counted from 0, and the average precision."""
    labels = np.asarray(index.labels)
    rows = directed(np.array(index.features), index.metric)
    rows = rows - rows.mean(axis=0) if index.metric == "l2" else rows
    squares = np.einsum("nd,nd->n", rows, rows)
    first, precisions = [], []
    step = max(1, _BLOCK_BYTES // (16 * len(rows)))
    for start in range(0, len(chosen), step):
        own = chosen[start : start + step]
        scores = rows[own] @ rows.T
        scores = 2 * scores - squares if index.metric == "l2" else scores
        scores[np.arange(len(own)), own] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :-1]
        is_relevant = labels[order] == labels[own][:, None]
        first.append(is_relevant.argmax(axis=1))
        precisions.append(average_precision(is_relevant))
    return np.concatenate(first), np.concatenate(precisions)
