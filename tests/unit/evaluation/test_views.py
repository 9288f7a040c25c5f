"""Ten crops and five scales: where they are cut, and that evaluating and predicting average the same views."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.evaluation.evaluate_model import evaluate
from striate.evaluation.trusted_predictions import TrustRequest, predict_trusted
from striate.evaluation.views import view_function, views_of
from striate.tasks.model import Model


class Brightness(nn.Module):
    """Logits: the mean of the image at the left, and of it at the right; sees any size."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, images):
        half = images.shape[3] // 2
        return self.gain * torch.stack([images[..., :half].mean((1, 2, 3)), images[..., -half:].mean((1, 2, 3))], dim=1)


@pytest.fixture
def model():
    preprocessing = Preprocessing(1, 8, (4, 4), (0.0,), (0.1,))
    return Model(Brightness(), class_names=("left", "right"), preprocessing=preprocessing)


def test_ten_crops_are_corners_and_centre_and_their_mirror_images(model):
    image = np.arange(8 * 8, dtype=np.uint8).reshape(8, 8, 1)
    views = views_of(model, "ten_crop")
    crops = [view.cut(image)[..., 0] for view in views]
    assert [int(crop[0, 0]) for crop in crops[::2]] == [0, 4, 32, 36, 18]
    assert all((one[:, ::-1] == other).all() for one, other in zip(crops[::2], crops[1::2], strict=True))
    assert {crop.shape for crop in crops} == {(4, 4)}


def test_without_a_margin_the_image_is_made_larger(model):
    tight = dataclasses.replace(model, preprocessing=Preprocessing(1, 28, (28, 28), (0.0,), (1.0,)))
    assert {view.preprocessing.resize_size for view in views_of(tight, "ten_crop")} == {32}


def test_five_scales(model):
    wide = dataclasses.replace(model, preprocessing=Preprocessing(1, 256, (224, 224), (0.0,), (1.0,)))
    sizes = [view.preprocessing.crop_size[0] for view in views_of(wide, "five_scales")[::2]]
    assert sizes == [224, 256, 384, 480, 640]
    with pytest.raises(InputError, match="views are ten_crop or five_scales but not 'nine'"):
        views_of(model, "nine")


@pytest.mark.parametrize("average", ["ten_crop", "five_scales"])
def test_mirrored_views_balance_left_and_right_and_both_ways_agree(model, average, tmp_path, monkeypatch, seed):
    """Each view stands beside its mirror image, so that left and right come to a half each, which one view alone would
    not.
    """
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(seed)
    for name in ("left", "right"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(3):
            pixels = draw.integers(0, 255, (11, 13), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    found = list(predict_trusted(model, tmp_path / "photos", TrustRequest(average=average)))
    assert len(found) == 6
    for each in found:
        assert each.classes[0].probability == pytest.approx(0.5, abs=1e-6)
    result = evaluate(model, tmp_path / "photos", average=average)
    assert result.evaluation.negative_log_likelihood == pytest.approx(np.log(2), abs=1e-5)


def test_the_mean_is_over_probabilities(model):
    lopsided = dataclasses.replace(model)
    image = np.zeros((8, 8, 1), np.uint8)
    image[:, :4] = 200
    run = view_function(lopsided, "ten_crop")
    singles = [
        torch.from_numpy(np.ascontiguousarray(view.cut(image))).permute(2, 0, 1)[None].float()
        for view in views_of(lopsided, "ten_crop")
    ]
    expected = np.mean(
        [model.network(model.preprocessing.normalize(each)).softmax(1).detach().numpy() for each in singles], axis=0
    )
    assert run(image) == pytest.approx(expected, abs=1e-5)
