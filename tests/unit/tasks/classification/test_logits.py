"""The loss and the answer of a classifier, on paper."""

import math

import pytest
import torch
from torch.nn import functional as F

from striate.tasks.classification.logits import (
    balanced_class_weights,
    classification_loss,
    first_best,
    rank_of_labels,
    top_classes,
)

LOGITS = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))


def test_loss_is_the_mean_surprise_at_the_right_answer() -> None:
    loss = classification_loss(LOGITS, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(10)) / 2)


def test_smoothing_spreads_a_share_of_the_target_evenly() -> None:
    loss = classification_loss(LOGITS[:1], torch.tensor([0]), label_smoothing=0.3)
    targets = (0.7 + 0.1, 0.1, 0.1)
    assert loss.item() == pytest.approx(targets[0] * math.log(2) + (targets[1] + targets[2]) * math.log(4))


def test_class_weights_make_a_weighted_mean() -> None:
    loss = classification_loss(LOGITS, torch.tensor([0, 1]), class_weights=torch.tensor([1.0, 3.0, 5.0]))
    assert loss.item() == pytest.approx((1 * math.log(2) + 3 * math.log(10)) / 4)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weights", [None, torch.tensor([1.0, 3.0, 5.0])])
def test_one_hot_shares_say_what_labels_say(label_smoothing: float, class_weights: torch.Tensor | None) -> None:
    labels = torch.tensor([2, 0])
    settings = {"label_smoothing": label_smoothing, "class_weights": class_weights}
    as_labels = classification_loss(LOGITS, labels, **settings)
    as_shares = classification_loss(LOGITS, F.one_hot(labels, 3).float(), **settings)
    assert as_shares.item() == pytest.approx(as_labels.item(), rel=1e-6)


def test_mixed_targets_mix_the_losses() -> None:
    both = torch.tensor([[0.75, 0.25, 0.0]])
    loss = classification_loss(LOGITS[:1], both)
    assert loss.item() == pytest.approx(0.75 * math.log(2) + 0.25 * math.log(4))


def test_soft_targets_in_half_precision() -> None:
    loss = classification_loss(LOGITS.to(torch.bfloat16), torch.tensor([[1.0, 0, 0], [0, 1, 0]]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(10)) / 2, rel=0.02)


def test_balanced_weights_give_every_class_the_same_say() -> None:
    labels = torch.tensor([0, 0, 0, 2])
    weights = balanced_class_weights(labels, 3)
    assert weights.tolist() == pytest.approx([2 / 3, 0, 2])
    assert weights[labels].mean().item() == pytest.approx(1)


def test_top_classes_are_ordered_and_ties_go_to_the_lower_index() -> None:
    probabilities, indices = top_classes(torch.tensor([[0.2, 0.3, 0.3, 0.2]]), 3)
    assert indices.tolist() == [[1, 2, 0]]
    assert probabilities[0].tolist() == pytest.approx([0.3, 0.3, 0.2])


def test_no_more_classes_than_there_are() -> None:
    _, indices = top_classes(torch.tensor([[0.2, 0.8]]), 5)
    assert indices.tolist() == [[1, 0]]


def test_ranks_count_the_classes_before_the_right_one() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0]] * 3)
    assert rank_of_labels(logits, torch.tensor([0, 1, 2])).tolist() == [2, 0, 1]


def test_ranks_and_answers_agree_on_ties() -> None:
    logits = torch.tensor([[1.0, 1.0, 1.0], [0.0, 2.0, 2.0]])
    assert first_best(logits).tolist() == [0, 1]
    assert rank_of_labels(logits, torch.tensor([0, 1])).tolist() == [0, 0]
    assert rank_of_labels(logits, torch.tensor([2, 2])).tolist() == [2, 1]
