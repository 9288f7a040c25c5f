"""Ranking labels by out-of-fold probabilities, on cases done by hand."""

import numpy as np
import pytest

from striate.errors import InputError
from striate.evaluation.confident_learning import confident_joint, estimate_errors, rank_labels
from striate.evaluation.out_of_fold import PENALTIES, choose_penalty, out_of_fold_probabilities, stratified_folds

LABELS = np.array([0, 0, 0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.6, 0.4]])


def test_confident_joint_by_hand():
    """Thresholds: class 0 (.9 + .8 + .1) / 3 = .6, class 1 (.7 + .4) / 2 = .55; the last image just reaches class 0."""
    joint, speaks_for = confident_joint(PROBABILITIES, LABELS)
    assert speaks_for.tolist() == [0, 0, 1, 1, 0]
    assert joint.tolist() == [[2, 1], [1, 1]]


def test_an_image_that_reaches_no_threshold_is_not_counted():
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    joint, speaks_for = confident_joint(probabilities, np.array([0, 0, 1]))  # thresholds .75 and 1
    assert speaks_for.tolist() == [0, -1, 1]
    assert joint.tolist() == [[1, 0], [0, 1]]


def test_of_several_classes_reached_the_most_probable_counts():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.1, 0.4, 0.5], [0.3, 0.3, 0.4]])
    assert confident_joint(probabilities, np.array([0, 1, 2]))[1].tolist() == [1, 2, 2]


def test_estimate_scales_each_row_to_its_class():
    """Half of the counted of class 0 and a quarter of class 1 are off the diagonal: 10 / 2 + 8 / 4."""
    assert estimate_errors(np.array([[2, 2], [1, 3]]), np.repeat([0, 1], [10, 8])) == 7


def test_order_is_self_confidence_and_only_of_labels_that_are_not_the_most_probable():
    ranked = rank_labels(PROBABILITIES, LABELS)
    assert ranked.order.tolist() == [2, 4]
    assert ranked.suggested[ranked.order].tolist() == [1, 0]
    assert ranked.self_confidence[ranked.order].tolist() == [0.1, 0.4]
    assert ranked.is_confident.tolist() == [False, False, True, False, True]
    assert ranked.num_estimated == round(3 * 1 / 3 + 2 * 1 / 2)


@pytest.mark.parametrize(
    ("probabilities", "labels", "text"),
    [
        (np.zeros((2, 2)), np.array([0]), r"expected probabilities \(N, K\)"),
        (np.full((1, 2), 0.5), np.array([2]), r"labels must lie in \[0, 1\] but run from 2 to 2"),
        (np.array([[3.0, -2.0]]), np.array([0]), "probabilities must lie in .* apply a softmax"),
        (np.array([[np.nan, 0.5]]), np.array([0]), "probabilities must lie in"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities, labels, text):
    with pytest.raises(InputError, match=text):
        rank_labels(probabilities, labels)


def test_folds_keep_groups_together_and_spread_classes():
    labels = np.repeat([0, 1, 2], [20, 10, 5])
    groups = np.arange(35)
    groups[1] = groups[0]  # a copy
    folds = stratified_folds(labels, groups, 5, seed=3)
    assert folds[0] == folds[1]
    assert {np.bincount(folds[labels == 1], minlength=5).max(), np.bincount(folds[labels == 2]).max()} == {2, 1}
    assert (folds == stratified_folds(labels, groups, 5, seed=3)).all()
    assert (folds != stratified_folds(labels, groups, 5, seed=4)).any()
    with pytest.raises(InputError, match="at least 2 but are 1"):
        stratified_folds(labels, groups, 1, seed=0)


def test_nobody_is_fitted_on_the_image_it_is_asked_about():
    """Features that tell every image apart and nothing else: a fit that had seen it would know its label."""
    features, labels = np.eye(40), np.arange(40) % 2
    folds = stratified_folds(labels, np.arange(40), 4, seed=0)
    found = out_of_fold_probabilities(features, labels, folds, 2, penalty=1e-3)
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-9
    assert (found[np.arange(40), labels] < 0.6).all()


def test_equal_to_scikit_learns_cross_validation(seed):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    draw = np.random.default_rng(seed)
    labels = np.arange(60) % 3
    features = draw.normal(size=(60, 4)) + labels[:, None]
    folds = stratified_folds(labels, np.arange(60), 5, seed=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8))
    expected = cross_val_predict(model, features, labels, cv=PredefinedSplit(folds), method="predict_proba")
    found = out_of_fold_probabilities(features, labels, folds, 3, penalty=10.0)
    assert np.abs(found - expected).max() < 2e-3  # ours stops at a gradient of 1e-4
    assert choose_penalty(features, labels, folds, 3) in PENALTIES


def test_a_class_that_a_fit_has_no_image_of_gets_nothing():
    labels = np.array([0, 0, 1, 1, 2])
    found = out_of_fold_probabilities(np.eye(5), labels, np.array([0, 1, 0, 1, 0]), 3, penalty=1.0)
    assert (found[[0, 2, 4], 2] == 0).all()
    assert (found[[1, 3], 2] > 0).all()
