"""Figures of segmentation, by hand."""

import json

import numpy as np
import pytest
import torch

from striate.errors import DataError, NonFiniteLoss
from striate.tasks.segmentation.boundary import border, boundary_scores
from striate.tasks.segmentation.figures import SegmentationAccumulator

NAMES = ("a", "b", "c")


def logits_of(classes: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(classes.long(), len(NAMES)).permute(0, 3, 1, 2).float() * 8


def accumulated(predicted: list, true: list, *, is_final: bool = False) -> SegmentationAccumulator:
    accumulator = SegmentationAccumulator(NAMES, is_final=is_final)
    for one, other in zip(predicted, true, strict=True):
        accumulator.update(logits_of(torch.tensor([one])), torch.tensor([other], dtype=torch.uint8))
    return accumulator


def test_iou_and_accuracy_by_hand():
    result = accumulated([[[0, 0], [1, 1]], [[1, 1], [1, 1]]], [[[0, 1], [1, 255]], [[1, 1], [1, 0]]]).result(
        np.arange(2)
    )
    # class a: 1 right of 1 + 1 + 1; class b: 1 + 3 right, of predicted 1 + 4 and true 2 + 3, so 4 of 6; c is nowhere
    assert [each.iou for each in result.per_class] == [pytest.approx(1 / 3), pytest.approx(4 / 6), None]
    assert result.mean_iou.value == pytest.approx((1 / 3 + 4 / 6) / 2)
    assert result.pixels.value == pytest.approx(5 / 7)
    assert result.mean_class_accuracy == pytest.approx((1 / 2 + 4 / 5) / 2)
    assert [each.support for each in result.per_class] == [2, 2, 0]
    assert result.boundary_f is None
    low, high = result.score_interval
    assert 0 <= low <= result.score <= high <= 1
    json.dumps(result.to_json(), allow_nan=False)


def test_a_perfect_answer_has_no_mistakes_and_a_single_image_no_interval():
    result = accumulated([[[0, 1], [2, 2]]], [[[0, 1], [2, 255]]], is_final=True).result(np.array([7]))
    assert (result.score, result.pixels.value, result.boundary_f) == (1, 1, 1)
    assert result.mistakes == ()
    assert result.score_interval == (0, 1)


def test_the_worst_images_come_first_with_their_worst_class():
    true = [[0, 1], [2, 2]]
    result = accumulated([true, [[0, 0], [2, 2]], [[1, 0], [0, 0]]], [true] * 3, is_final=True).result(
        np.array([5, 6, 9])
    )
    assert [mistake.index for mistake in result.mistakes] == [9, 6]
    assert result.mistakes[1].worst_class == "b"
    assert result.mistakes[1].mean_iou == pytest.approx((1 / 2 + 0 + 1) / 3)


def test_processes_together_have_the_figures_of_one():
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randint(0, 3, (5, 6, 6), generator=generator)
    true = torch.randint(0, 3, (5, 6, 6), generator=generator).to(torch.uint8)
    whole = SegmentationAccumulator(NAMES)
    whole.update(logits_of(predicted), true)
    parts = [SegmentationAccumulator(NAMES) for _ in range(2)]
    for rank, part in enumerate(parts):
        part.update(logits_of(predicted[rank::2]), true[rank::2])
    merged = SegmentationAccumulator(NAMES).merged([part.arrays() for part in parts], np.array([0, 3, 1, 4, 2]))
    assert merged.result(np.arange(5)).to_json() == whole.result(np.arange(5)).to_json()


def test_nan_is_named():
    accumulator = SegmentationAccumulator(NAMES)
    accumulator.update(torch.full((1, 3, 2, 2), float("nan")), torch.zeros(1, 2, 2, dtype=torch.uint8))
    with pytest.raises(NonFiniteLoss, match="answers image 4 with NaN"):
        accumulator.result(np.array([4]))


def test_the_border_of_a_region():
    inside = np.zeros((5, 5), bool)
    inside[1:4, 1:4] = True
    expected = inside.copy()
    expected[2, 2] = False
    assert np.array_equal(border(inside), expected)
    assert not border(np.ones((3, 3), bool)).any()  # the image's edge is none


def test_boundary_f_by_hand():
    true = np.zeros((1, 40), np.uint8)
    true[:, 20:] = 1
    for shift, expected in ((0, 1.0), (2, 1.0), (4, 0.0)):
        predicted = np.zeros_like(true)
        predicted[:, 20 + shift :] = 1
        scores = boundary_scores(predicted, true, 3, tolerance=2.5 / np.hypot(1, 40))
        assert scores[:2].tolist() == [expected, expected]
        assert np.isnan(scores[2])
    # one border right, another that is not there: precision 1/2, recall 1
    predicted = true.copy()
    predicted[:, :5] = 1
    assert boundary_scores(predicted, true, 3, tolerance=2.5 / np.hypot(1, 40))[1] == pytest.approx(2 / 3)


def test_a_class_that_is_missed_whole_has_no_boundary_right():
    """Neither mask has a border inside the image, and the class is still nowhere."""
    scores = boundary_scores(np.ones((6, 6), np.uint8), np.zeros((6, 6), np.uint8), 2)
    assert scores[0] == 0
    assert boundary_scores(np.zeros((6, 6), np.uint8), np.zeros((6, 6), np.uint8), 2)[0] == 1


def test_a_border_may_be_off_by_a_pixel_in_the_smallest_image():
    true, predicted = np.zeros((2, 12, 12), np.uint8)
    true[:, 6:], predicted[:, 7:] = 1, 1
    assert boundary_scores(predicted, true, 2).tolist() == [1, 1]
    predicted[:, 7:8] = 0
    assert boundary_scores(predicted, true, 2).tolist() == [0, 0]


def test_an_image_in_which_nothing_counts_is_no_mistake_and_none_that_counts_an_error():
    nothing, right = [[255, 255]], [[0, 1]]
    result = accumulated([right, right], [nothing, right], is_final=True).result(np.arange(2))
    assert result.mistakes == ()
    assert result.score == 1
    with pytest.raises(DataError, match="no pixel of the masks of these 1 images has a class that counts"):
        accumulated([right], [nothing]).result(np.arange(1))
