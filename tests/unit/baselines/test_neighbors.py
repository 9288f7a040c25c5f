"""k nearest neighbours: beside scikit-learn's, and votes and leave-one-out by hand."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from striate.baselines import neighbors
from striate.baselines.neighbors import choose_num_neighbors, nearest_places, neighbor_votes
from striate.errors import InputError
from striate.evaluation import nearest


@pytest.mark.parametrize(("metric", "name"), [("l1", "manhattan"), ("l2", "euclidean")])
def test_same_neighbours_and_classes_as_scikit_learn(metric, name, monkeypatch):
    digits = load_digits()
    known, queries, labels = digits.data[:900], digits.data[900:1300], digits.target[:900]
    reference = KNeighborsClassifier(1, metric=name, algorithm="brute").fit(known, labels)
    distances, _ = reference.kneighbors(queries, n_neighbors=5)
    places = nearest_places(known, queries, 5, metric)
    order = 1 if metric == "l1" else 2
    own = np.linalg.norm(queries[:, None] - known[places], ord=order, axis=2)
    assert np.allclose(own, distances, atol=1e-3)  # places may differ where distances do not
    predicted = neighbor_votes(labels[places[:, :1]], 10).argmax(axis=1)
    assert (predicted == reference.predict(queries)).mean() > 0.995
    monkeypatch.setattr(nearest, "_BLOCK_BYTES", 4 * 900 * 7)
    again = nearest_places(known, queries, 5, metric)
    assert np.allclose(np.linalg.norm(queries[:, None] - known[again], ord=order, axis=2), own, atol=1e-3)


def test_votes_and_ties_by_hand():
    labels = np.array([[2, 0, 0], [1, 0, 2], [0, 2, 1]])
    votes = neighbor_votes(labels, 3)
    assert votes.argmax(axis=1).tolist() == [0, 1, 0], "two votes beat one; of equally many the nearest wins"
    assert np.floor(votes).sum(axis=1).tolist() == [3, 3, 3]
    assert neighbor_votes(np.array([[1, 1, 0, 0]]), 2).argmax() == 1


def test_leave_one_out_by_hand():
    """On a line 0, 1, 2 | 10, 11 with a wrong label at 1: with k = 1 only the images at 10 and 11 are right, with k = 3
    also 0 and 2.
    """
    features = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    labels = np.array([0, 1, 0, 1, 1, 1])
    groups = np.arange(6)
    found = choose_num_neighbors(features, labels, groups, 2, "l2", most_queries=100, counts=(1,))
    assert found == neighbors.NeighborChoice(1, 3 / 6, 6)
    found = choose_num_neighbors(features, labels, groups, 2, "l1", most_queries=100, counts=(1, 3))
    assert found.num_neighbors == 1, "of equally accurate numbers the smallest"


def test_copies_do_not_answer_for_each_other():
    features = np.array([[0.0], [0.0], [1.0], [1.0]])
    labels = np.array([0, 0, 1, 1])
    alone = choose_num_neighbors(features, labels, np.arange(4), 2, "l2", most_queries=4, counts=(1,))
    together = choose_num_neighbors(features, labels, np.array([0, 0, 1, 1]), 2, "l2", most_queries=4, counts=(1,))
    assert (alone.accuracy, together.accuracy) == (1.0, 0.0)


def test_bad_arguments_are_one_line():
    with pytest.raises(InputError, match="metric must be l1 or l2 but is 'l3'"):
        nearest_places(np.zeros((2, 1)), np.zeros((1, 1)), 1, "l3")
    with pytest.raises(InputError, match=r"must lie in \[1, 2\] but is 3"):
        nearest_places(np.zeros((2, 1)), np.zeros((1, 1)), 3, "l1")
