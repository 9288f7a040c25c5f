"""A quick engine, and a slow one where the quick one is not sure."""

import numpy as np
import pytest

from striate.engines.low_margin import SAFETY, SMALLEST_GAP, LowMarginRecompute, gaps, safe_gap, unlike_images
from striate.errors import InputError


def softmax(logits):
    shares = np.exp(np.asarray(logits, np.float64))
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def test_gaps_are_those_of_the_logits():
    assert gaps(softmax([[3.0, 1.0, 2.5], [0.0, 4.0, -1.0]])) == pytest.approx([0.5, 4.0], rel=1e-5)
    assert gaps(np.array([[1.0, 0.0]])) == [np.inf]


def test_the_gap_is_twice_the_largest_shift_also_where_no_answer_flipped():
    slow = softmax([[2.0, 1.0], [1.0, 1.2], [5.0, 0.0]])
    flipped = softmax([[2.0, 1.0], [1.3, 1.0], [5.0, 0.0]])  # by 0.5: from -0.2 to 0.3
    assert safe_gap(flipped, slow) == pytest.approx(SAFETY * 0.5, rel=1e-4)
    shifted = softmax([[2.4, 1.0], [1.0, 1.2], [5.0, 0.0]])
    assert safe_gap(shifted, slow) == pytest.approx(SAFETY * 0.4, rel=1e-4)
    assert safe_gap(slow, slow) == SMALLEST_GAP


def test_unlike_images_are_of_four_kinds():
    pixels = np.random.default_rng(1).integers(0, 256, (64, 3, 4, 3), np.uint8)
    found = unlike_images(pixels, 32)
    assert (found.shape, found.dtype) == ((32, 3, 4, 3), np.uint8)
    assert np.array_equal(found[:8], 255 - pixels[:8])
    assert np.array_equal(found[8], (pixels[0].astype(int) + pixels[63]) // 2)
    assert [len(np.unique(image)) for image in found[24:]] == [1] * 8
    assert len(unlike_images(pixels, 1)) == 1


def test_a_quick_engine_that_is_wrong_and_certain_is_refused():
    with pytest.raises(InputError, match="wrong and certain of it, so no gap tells when to compute again"):
        safe_gap(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
    with pytest.raises(InputError, match="expected answers of both engines to the same images"):
        safe_gap(np.zeros((0, 2)), np.zeros((0, 2)))


def test_only_what_is_unsure_is_computed_again():
    quick_answers = softmax([[3.0, 0.0], [1.0, 1.1], [0.0, 2.0]])
    seen = []

    def slow(pixels):
        seen.append(pixels[:, 0, 0, 0].tolist())
        return softmax([[1.1, 1.0]] * len(pixels))

    pixels = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    answers = LowMarginRecompute(lambda images: quick_answers[images[:, 0, 0, 0]], slow, gap=0.5)(pixels)
    assert seen == [[1]]
    assert answers.argmax(axis=1).tolist() == [0, 0, 1]
    assert (answers[[0, 2]] == quick_answers[[0, 2]]).all()
    assert quick_answers[1].argmax() == 1  # the quick engine's own array is left alone


def test_not_a_number_is_unsure():
    broken = np.full((1, 2), np.nan, np.float32)
    right = np.array([[0.25, 0.75]], np.float32)
    pixels = np.zeros((1, 1, 1, 1), np.uint8)
    assert (LowMarginRecompute(lambda _: broken, lambda _: right, gap=0.1)(pixels) == right).all()
