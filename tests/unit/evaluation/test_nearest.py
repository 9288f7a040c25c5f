"""Exact neighbours beside scikit-learn's, and votes counted by hand."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from striate.errors import InputError
from striate.evaluation import nearest
from striate.evaluation.nearest import most_similar, nearest_rows, out_of_fold_votes


def test_same_neighbours_as_scikit_learn_in_any_blocks(seed, monkeypatch):
    draw = np.random.default_rng(seed)
    known, queries = draw.normal(5, 1, (200, 8)), draw.normal(5, 1, (30, 8))
    distances, places = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(known).kneighbors(queries)
    found = nearest_rows(known, queries, 7)
    assert (found[0] == places).all()
    assert np.abs(np.sqrt(found[1]) - distances).max() < 1e-4  # float32
    monkeypatch.setattr(nearest, "_BLOCK_BYTES", 4 * 200 * 7)
    assert (nearest_rows(known, queries, 7)[0] == places).all()


def test_more_neighbours_than_images_are_refused():
    with pytest.raises(InputError, match=r"must lie in \[1, 2\] but is 3"):
        nearest_rows(np.zeros((2, 1)), np.zeros((1, 1)), 3)


def test_votes_by_hand():
    """Directions east and north; only the other fold votes: the first image hears (0, 0, 1) of labels, half a vote
    added to each.
    """
    features = np.array([[1.0, 0.0], [2.0, 0.1], [3.0, 0.0], [0.0, 1.0], [0.0, 5.0]])
    labels, folds = np.array([1, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 0])
    votes = out_of_fold_votes(features, labels, folds, 2, num_voters=3)
    assert votes[0].tolist() == [2.5 / 4, 1.5 / 4]
    assert votes[3].tolist() == [0.5 / 3, 2.5 / 3]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("block_rows", [7, 8192])
def test_most_similar_is_what_scikit_learn_finds(metric, block_rows):
    rng = np.random.default_rng(5)
    known, queries = rng.normal(3, 1, (300, 20)).astype(np.float32), rng.normal(3, 1, (9, 20)).astype(np.float32)
    places, values = most_similar(known, queries, 6, metric, block_rows=block_rows)
    name = {"cosine": "cosine", "l2": "euclidean"}[metric]
    distances, expected = NearestNeighbors(n_neighbors=6, metric=name, algorithm="brute").fit(known).kneighbors(queries)
    assert (places == expected).all()
    assert values == pytest.approx(1 - distances if metric == "cosine" else distances, abs=1e-5)


def test_most_similar_tells_very_near_rows_apart_and_keeps_the_order_of_equal_ones():
    """Rows far from the middle that differ in their last digits, which products of 32-bit numbers cannot tell."""
    known = np.full((40, 4), 1000.0, np.float32)
    known[:, 0] += np.arange(40)[::-1] * 0.001
    query = np.array([[1000.0, 1000, 1000, 1000]], np.float32)
    places, values = most_similar(known, query, 3, "l2")
    assert places.tolist() == [[39, 38, 37]]
    assert values[0, 0] == 0
    places, values = most_similar(np.ones((5, 2), np.float32), np.zeros((1, 2), np.float32), 5)
    assert places.tolist() == [[0, 1, 2, 3, 4]]
    assert (values == 0).all()


def test_what_cannot_be_compared_is_named():
    rows = np.zeros((3, 2), np.float32)
    with pytest.raises(InputError, match="metric must be cosine or l2 but is 'l1'"):
        most_similar(rows, rows, 1, "l1")
    with pytest.raises(InputError, match="as many numbers but got"):
        most_similar(rows, np.zeros((1, 3), np.float32), 1)
    with pytest.raises(InputError, match=r"lie in \[1, 3\] but is 4"):
        most_similar(rows, rows, 4)
