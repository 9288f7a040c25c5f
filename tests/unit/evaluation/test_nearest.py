"""Exact neighbours beside scikit-learn's, and votes counted by hand."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from striate.errors import InputError
from striate.evaluation import nearest
from striate.evaluation.nearest import nearest_rows, out_of_fold_votes


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
