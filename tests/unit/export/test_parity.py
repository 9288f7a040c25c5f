"""When an export passes and when it does not, on a runner whose answers are the model's but for one change."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from export_cases import expected, noise, small_model
from striate.errors import InputError
from striate.export.about import describe_export, to_text
from striate.export.parity import RESIZED_TOLERANCE, TOLERANCE, verify
from striate.export.running import Runner

IMAGES = [noise(20, 20, 3), noise(31, 17, 3), noise(12, 40, 3)]


@pytest.fixture
def model():
    return small_model(nn.ReLU())


def runner(model, compute, *, resize=True, **changes):
    about = json.loads(to_text(describe_export(model, resize=resize)))
    return Runner("made by hand", about | changes, compute)


def honest(model):
    return lambda images: expected(model, images)


def test_an_honest_export_passes(model):
    parity = verify(model, runner(model, honest(model)), IMAGES)
    assert parity.passed
    assert (
        parity.num_answers == parity.num_equal_top1 == 3 + 4 + 5 + 5
    )  # alone, in twos, in fives, and without resizing
    assert parity.largest_difference == parity.largest_resized_difference == 0
    assert parity.batch_sizes == (1, 2, 5)
    assert parity.sizes == ((12, 40), (20, 20), (31, 17))
    assert parity.to_json()["passed"] is True
    json.dumps(parity.to_json(), allow_nan=False)


def test_without_resizing_nothing_is_called_resized(model):
    parity = verify(model, runner(model, honest(model), resize=False), IMAGES)
    assert parity.passed
    assert parity.largest_resized_difference is None
    assert parity.sizes == ((16, 16),)


@pytest.mark.parametrize(("shift", "passes"), [(0.5, True), (2, False)])
def test_the_tolerance_is_the_limit(model, shift, passes):
    def shifted(images):
        answered = expected(model, images)
        if images.shape[1:3] != (20, 20):
            return answered
        return answered + shift * TOLERANCE * np.array([1, -1, 0], np.float32)

    model.network[-1].bias.data[:] = torch.tensor([2.0, 0.0, -2.0])  # far from a tie
    parity = verify(model, runner(model, shifted, resize=False), [noise(20, 20, 3)])
    assert parity.passed  # no image is 20 x 20 any more
    parity = verify(model, runner(model, shifted), IMAGES)
    assert parity.largest_difference == pytest.approx(shift * TOLERANCE, rel=1e-2)
    assert parity.passed is passes


def swapped(model):
    """The model's answers with its two best classes changed."""

    def compute(images):
        answered = expected(model, images).copy()
        for row in answered:
            first, second = row.argsort()[-2:]
            row[[first, second]] = row[[second, first]]
        return answered

    return compute


def test_another_best_class_fails(model):
    model.network[-1].bias.data[:] = torch.tensor([2.0, 0.0, -2.0])
    parity = verify(model, runner(model, swapped(model)), IMAGES)
    assert not parity.passed
    assert parity.num_equal_top1 == 0
    assert len(parity.disagreements) == parity.num_answers
    assert (parity.disagreements[0].model, parity.disagreements[0].exported) == ("class 0", "class 1")
    assert parity.disagreements[0].margin > 0.5


def test_a_near_tie_is_reported_and_passes(model):
    with torch.no_grad():
        model.network[-1].weight.zero_()
        model.network[-1].bias[:] = torch.tensor([1.0, 1.0 + TOLERANCE, -5.0])
    parity = verify(model, runner(model, swapped(model)), IMAGES)
    assert parity.passed
    assert parity.num_equal_top1 == 0
    assert len(parity.ties) == parity.num_answers
    assert 0 < parity.ties[0].margin < TOLERANCE < RESIZED_TOLERANCE


def test_nan_fails_and_is_no_json(model):
    parity = verify(model, runner(model, lambda images: np.full((len(images), 3), np.nan, np.float32)), IMAGES)
    assert not parity.passed
    assert parity.largest_difference == float("inf")


def test_another_number_of_answers_fails(model):
    parity = verify(model, runner(model, lambda images: expected(model, images)[:, :2]), IMAGES)
    assert not parity.passed


def test_other_class_names_fail(model):
    names = ["class 1", "class 0", "class 2"]
    parity = verify(model, runner(model, honest(model), class_names=names), IMAGES)
    assert parity.problems == ("its 3 class names are not the model's 3, or in another order",)
    assert parity.num_answers > 0
    assert not parity.passed
    parity = verify(model, runner(model, honest(model), class_names=names[:2]), IMAGES)
    assert (parity.num_answers, parity.passed) == (0, False)


def test_another_preprocessing_fails(model):
    other = model.preprocessing.to_json() | {"mean": [0.0, 0.5, 0.6], "crop_size": [16, 16], "std": [0.2, 0.25, 0.3]}
    parity = verify(model, runner(model, honest(model), preprocessing=other), IMAGES)
    assert parity.problems == ("its preprocessing is not the model's: mean differ",)
    assert not parity.passed


def test_a_model_that_answers_nan_has_no_proof(model):
    model.network[-1].bias.data[0] = torch.nan
    with pytest.raises(InputError, match="small answers NaN, so that nothing can be compared with it"):
        verify(model, runner(model, honest(model)), IMAGES)
