"""Linear classifiers reach the least of what scikit-learn minimises, and hand-sized problems come out as on paper."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from striate.baselines.linear import choose_penalty, fit_linear
from striate.errors import InputError


def standard_digits(count):
    digits = load_digits()
    features = digits.data[:count] - digits.data[:count].mean(axis=0)
    return features / np.sqrt((features**2).mean()), digits.target[:count]


def softmax_objective(weights, biases, features, labels, penalty):
    scores = features @ weights.T + biases
    scores -= scores.max(axis=1, keepdims=True)
    losses = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels]
    return losses.mean() + penalty / 2 * (weights**2).sum()


def hinge_objective(weights, biases, features, labels, penalty):
    signs = np.where(np.arange(len(weights)) == labels[:, None], 1, -1)
    missing = np.maximum(0, 1 - signs * (features @ weights.T + biases))
    return (missing**2).sum() / len(labels) + penalty / 2 * (weights**2).sum()


@pytest.mark.parametrize("penalty", [0.1, 0.001])
def test_softmax_regression_reaches_scikit_learns_minimum(penalty):
    features, labels = standard_digits(500)
    other = LogisticRegression(C=1 / (penalty * len(labels)), tol=1e-8, max_iter=5000).fit(features, labels)
    fit = fit_linear(features, labels, 10, loss="softmax", penalty=penalty)
    least = softmax_objective(other.coef_, other.intercept_, features, labels, penalty)
    assert softmax_objective(fit.weights, fit.biases, features, labels, penalty) <= least * 1.001 + 1e-6
    assert (fit.scores(features).argmax(axis=1) == other.predict(features)).mean() > 0.99


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_machine_reaches_liblinears_minimum():
    features, labels = standard_digits(300)
    penalty = 0.05
    # LIBLINEAR: |w|^2 / 2 + C * sum of squared hinges; a large intercept_scaling leaves the biases free, as ours are
    other = LinearSVC(C=1 / (penalty * len(labels)), intercept_scaling=100, dual=False, tol=1e-7, max_iter=20000)
    other.fit(features, labels)
    fit = fit_linear(features, labels, 10, loss="hinge", penalty=penalty)
    least = hinge_objective(other.coef_, other.intercept_, features, labels, penalty)
    assert hinge_objective(fit.weights, fit.biases, features, labels, penalty) <= least * 1.002
    assert (fit.scores(features).argmax(axis=1) == other.predict(features)).mean() > 0.99


def test_two_points_on_a_line_by_hand():
    """Points -1 and 1 of classes 0 and 1: by symmetry the boundary is at 0 and the squared hinge's slope is that of the
    penalty.

    For one class w = 2 * (1 - w) * 2 / penalty / 2: with penalty 2, w = (1 - w) * 1 -> 1/2.
    """
    fit = fit_linear(np.array([[-1.0], [1.0]]), np.array([0, 1]), 2, loss="hinge", penalty=2.0)
    assert fit.weights[:, 0] == pytest.approx([-0.5, 0.5], abs=1e-4)
    assert fit.biases == pytest.approx([0, 0], abs=1e-4)


def test_scaled_and_moved_features_give_the_same_scores():
    features, labels = standard_digits(200)
    fit = fit_linear(features, labels, 10, loss="softmax", penalty=0.01)
    moved = fit_linear(features * 255 + 1000, labels, 10, loss="softmax", penalty=0.01)
    assert np.abs(moved.scores(features * 255 + 1000) - fit.scores(features)).max() < 0.05


def test_penalty_is_the_strongest_of_the_best_and_small_sets_have_a_usual_one():
    features, labels = standard_digits(400)
    assert 1e-4 * 0.5 < choose_penalty(features, labels, 10, loss="softmax") < 1
    assert choose_penalty(features[:20], labels[:20], 10, loss="softmax") == 0.1


def test_bad_arguments_are_one_line():
    with pytest.raises(InputError, match="loss must be softmax or hinge but is 'mse'"):
        fit_linear(np.zeros((2, 1)), np.array([0, 1]), 2, loss="mse", penalty=1.0)
    with pytest.raises(InputError, match="penalty must be above 0 but is 0"):
        fit_linear(np.zeros((2, 1)), np.array([0, 1]), 2, loss="hinge", penalty=0.0)
