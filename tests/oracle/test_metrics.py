"""Metrics against scikit-learn and scipy, on the same random answers."""

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from striate.tasks.classification import metrics
from striate.tasks.classification.figures import Evaluation, figures_of
from striate.tasks.classification.logits import first_best, rank_of_labels
from striate.tasks.classification.metrics import Answers
from striate.tasks.intervals import wilson_interval

NUM_CLASSES = 7


@pytest.fixture(scope="module")
def logits_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(NUM_CLASSES - 1, (500,), generator=generator)  # the last class has no images
    logits = 2 * torch.randn(500, NUM_CLASSES, generator=generator, dtype=torch.float64)
    return logits + 2 * torch.nn.functional.one_hot(labels, NUM_CLASSES), labels


@pytest.fixture(scope="module")
def evaluation(logits_and_labels: tuple[torch.Tensor, torch.Tensor]) -> Evaluation:
    logits, labels = logits_and_labels
    log_probabilities = logits.log_softmax(dim=1)
    answers = Answers(
        labels=labels.numpy(),
        predicted=first_best(logits).numpy(),
        ranks=rank_of_labels(logits, labels).numpy(),
        losses=-log_probabilities.gather(1, labels[:, None])[:, 0].numpy(),
        confidences=log_probabilities.exp().amax(dim=1).numpy(),
    )
    return figures_of(answers, np.arange(500), tuple("abcdefg"))


def test_confusion_and_classes_against_scikit_learn(
    evaluation: Evaluation, logits_and_labels: tuple[torch.Tensor, torch.Tensor]
) -> None:
    logits, labels = logits_and_labels
    predicted, classes = logits.argmax(dim=1), list(range(NUM_CLASSES))
    assert (evaluation.confusion == sk.confusion_matrix(labels, predicted, labels=classes)).all()
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=np.nan
    )
    for figures, *expected in zip(evaluation.per_class, precision, recall, f1, support, strict=True):
        ours = [figures.precision, figures.recall, figures.f1, figures.support]
        assert [np.nan if value is None else value for value in ours] == pytest.approx(expected, nan_ok=True)


def test_shares_and_loss_against_scikit_learn(
    evaluation: Evaluation, logits_and_labels: tuple[torch.Tensor, torch.Tensor]
) -> None:
    logits, labels = logits_and_labels
    classes = list(range(NUM_CLASSES))
    assert evaluation.top1_accuracy == pytest.approx(sk.top_k_accuracy_score(labels, logits, k=1, labels=classes))
    assert evaluation.top5 is not None
    assert evaluation.top5.value == pytest.approx(sk.top_k_accuracy_score(labels, logits, k=5, labels=classes))
    expected = sk.log_loss(labels, logits.softmax(dim=1), labels=classes)
    assert evaluation.negative_log_likelihood == pytest.approx(expected)
    present = classes[:-1]
    recall = sk.recall_score(labels, logits.argmax(dim=1), labels=present, average="macro")
    assert evaluation.balanced_accuracy == pytest.approx(recall)


def test_calibration_against_scikit_learn(
    evaluation: Evaluation, logits_and_labels: tuple[torch.Tensor, torch.Tensor]
) -> None:
    logits, labels = logits_and_labels
    confidences = logits.softmax(dim=1).amax(dim=1).numpy()
    hits = (logits.argmax(dim=1) == labels).numpy()
    accuracies, means = calibration_curve(hits, confidences, n_bins=15, strategy="uniform")
    counts, _ = np.histogram(confidences, bins=15, range=(0, 1))
    shares = counts[counts > 0] / len(labels)
    assert [each.accuracy for each in evaluation.calibration] == pytest.approx(accuracies)
    assert [each.confidence for each in evaluation.calibration] == pytest.approx(means)
    assert evaluation.calibration_error == pytest.approx((shares * np.abs(accuracies - means)).sum())


@pytest.mark.parametrize(("num_hits", "num_trials"), [(0, 1), (1, 1), (1, 2), (354, 360), (0, 50), (9_950, 10_000)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_wilson_against_scipy(num_hits: int, num_trials: int, confidence: float) -> None:
    expected = scipy.stats.binomtest(num_hits, num_trials).proportion_ci(confidence, method="wilson")
    assert wilson_interval(num_hits, num_trials, confidence=confidence) == pytest.approx(tuple(expected), abs=1e-12)


def test_wilson_covers_as_often_as_it_says() -> None:
    """Over a few shares and sizes the interval holds the true one in about 95 % of draws, never below 90 %."""
    generator = np.random.default_rng(0)
    for share in (0.02, 0.5, 0.93):
        for num_trials in (20, 200):
            hits = generator.binomial(num_trials, share, 2000)
            bounds = np.array([wilson_interval(int(each), num_trials) for each in hits])
            covered = ((bounds[:, 0] <= share) & (share <= bounds[:, 1])).mean()
            assert covered > 0.9, (share, num_trials)


def test_bins_hold_every_image(evaluation: Evaluation) -> None:
    assert sum(each.count for each in evaluation.calibration) == evaluation.num_images
    assert metrics.calibration_error(list(evaluation.calibration)) == evaluation.calibration_error
