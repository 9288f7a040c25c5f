"""Recall and mean average precision by hand and against scikit-learn; cells against the exact search."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

from striate.errors import InputError
from striate.evaluation.nearest import most_similar
from striate.retrieval.cells import fit_cells, search_cells, usual_num_cells
from striate.retrieval.figures import average_precision, retrieval_figures
from striate.retrieval.index_file import ImageIndex


def index_of(features: np.ndarray, labels: list[int] | np.ndarray, metric: str = "l2", **cells) -> ImageIndex:
    count, names = len(features), tuple(map(str, range(len(features))))
    classes = tuple(map(str, range(int(np.max(labels)) + 1)))
    hashes = np.arange(count * 16).reshape(count, 16).astype(np.uint8)
    return ImageIndex(
        "s", "m", "n", "0" * 64, "fc", True, metric, classes, names, hashes, np.array(labels),
        np.asarray(features, np.float32), **cells,
    )  # fmt: skip


def test_average_precision_by_hand():
    """Relevant first and third of four: (1/1 + 2/3) / 2. None: 0."""
    found = average_precision(np.array([[True, False, True, False], [False, False, False, False]]))
    assert found == pytest.approx([5 / 6, 0])


def test_figures_by_hand():
    """On a line at 0, 1, 3, 7 with classes a, b, a, b: first others of the class come second, third, second, second."""
    figures = retrieval_figures(index_of(np.array([[0.0], [1], [3], [7]]), [0, 1, 0, 1]))
    assert figures.num_queries == 4
    assert figures.recall_at[1].value == 0
    assert figures.recall_at[5].value == 1
    assert figures.mean_average_precision.value == pytest.approx((1 / 2 + 1 / 3 + 1 / 2 + 1 / 2) / 4)
    assert figures.chance == pytest.approx(1 / 3)
    assert figures.to_json()["recall_at"]["5"]["value"] == 1


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_figures_as_scikit_learn_has_them(metric):
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 120)
    labels[:5] = -1
    features = rng.normal(size=(120, 6)) + 0.7 * np.eye(6)[labels % 6]
    figures = retrieval_figures(index_of(features, labels, metric))
    name = {"cosine": "cosine", "l2": "euclidean"}[metric]
    model = NearestNeighbors(n_neighbors=120, metric=name, algorithm="brute").fit(features.astype(np.float32))
    distances, places = model.kneighbors(features.astype(np.float32))
    precisions, hits = [], []
    for own in range(5, 120):
        others = places[own] != own
        relevant = labels[places[own][others]] == labels[own]
        precisions.append(average_precision_score(relevant, -distances[own][others]))
        hits.append(relevant[:5].any())
    assert figures.num_queries == 115
    assert figures.mean_average_precision.value == pytest.approx(np.mean(precisions), abs=1e-6)
    assert figures.recall_at[5].value == pytest.approx(np.mean(hits))


def test_nothing_to_measure_by():
    with pytest.raises(InputError, match="no two images of the index have one class"):
        retrieval_figures(index_of(np.eye(3), [0, 1, -1]))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_cells_find_nearly_what_all_images_do(metric):
    """Clusters, as features have them: a few cells hold nearly all neighbours; all cells hold exactly the same."""
    rng = np.random.default_rng(1)
    middles = rng.normal(size=(60, 16))
    features = (middles[rng.integers(0, 60, 3000)] + 0.3 * rng.normal(size=(3000, 16))).astype(np.float32)
    centers, cells = fit_cells(features, 40, metric)
    order = np.argsort(cells, kind="stable")
    features, stops = features[order], np.cumsum(np.bincount(cells, minlength=40))
    queries = features[::100] + 0.01
    exact, values = most_similar(features, queries, 10, metric)
    all_places, all_values, compared = search_cells(features, centers, stops, queries, 10, metric, num_probes=40)
    assert compared == 1
    assert (all_places == exact).all()
    assert all_values == pytest.approx(values)
    near, _, compared = search_cells(features, centers, stops, queries, 10, metric, num_probes=4)
    recall = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(near, exact, strict=True)])
    assert recall > 0.9
    assert compared < 0.25
    few, _, _ = search_cells(features, centers, stops, queries[:2], 2900, metric, num_probes=1)
    assert few.shape == (2, 2900)
    figures = retrieval_figures(index_of(features, np.arange(3000) % 3, metric, centers=centers, cell_stops=stops))
    assert figures.cells_recall > 0.9


def test_cells_from_a_million_on_and_wrong_numbers():
    assert usual_num_cells(1_000_000) == 0
    assert usual_num_cells(4_000_000) == 2000
    with pytest.raises(InputError, match=r"cells must lie in \[1, 3\]"):
        fit_cells(np.eye(3), 4, "l2")
    with pytest.raises(InputError, match="at least 1 but is 0"):
        search_cells(np.eye(3), np.eye(3), np.arange(1, 4), np.eye(3), 1, "l2", num_probes=0)
