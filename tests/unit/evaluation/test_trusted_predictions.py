"""Familiarity by hand, and predictions with sets, flags and views as function and command."""

import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from striate.baselines.baseline import baseline
from striate.baselines.linear_model import linear_model
from striate.cli.app import app
from striate.errors import InputError
from striate.evaluation.conformal import ConformalFit
from striate.evaluation.familiarity import energy, feature_distances, fit_familiarity, fraction_at_least
from striate.evaluation.trusted_predictions import TrustRequest, predict_trusted
from striate.tasks.model import save_model
from striate.tasks.predictions import PredictionError


def test_distance_energy_and_fraction_by_hand():
    known = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert feature_distances(known, np.array([[5.0, 0.0]]), 1) == pytest.approx([0], abs=1e-3)
    assert feature_distances(known, np.array([[5.0, 0.0]]), 2) == pytest.approx([2**0.5])
    assert energy(np.array([[0.0, 0.0], [1000.0, 0.0]])) == pytest.approx([-np.log(2), -1000])
    usual = np.array([1.0, 2.0, 3.0])
    assert fraction_at_least(usual, np.array([0.0, 2.0, 2.5, 9.0])) == pytest.approx([1, 3 / 4, 2 / 4, 1 / 4])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield linear_model(baseline("digits", kinds=("softmax",)))


@pytest.fixture
def images(tmp_path):
    """A digit, a chessboard, and a file that is none."""
    digit = (load_digits().images[0] * 15.9).astype(np.uint8)
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)
    for name, pixels in (("0.png", digit), ("1.png", board)):
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "2.png").write_text("no image")
    return tmp_path


def test_a_chessboard_is_no_digit_and_of_digits_as_many_as_allowed(model, images):
    usual = fit_familiarity(model)
    digit, board, broken = predict_trusted(model, images, TrustRequest(familiarity=usual))
    assert not digit.familiarity.is_unfamiliar
    assert board.familiarity.is_unfamiliar
    assert isinstance(broken, PredictionError)
    own = [image.astype(np.uint8) for image in load_digits().images * 15.9]
    found = list(predict_trusted(model, own, TrustRequest(familiarity=usual, level=0.1)))
    assert np.mean([each.familiarity.is_unfamiliar for each in found]) == pytest.approx(0.1, abs=0.06)
    assert [each.classes for each in found[:50]] == [each.classes for each in model.predict(own[:50]).predictions]


def test_sets_hold_the_best_class_first(model, images):
    everything = ConformalFit(0.9, "lac", np.inf, 100, "digits", "validation")
    (digit, *_rest) = predict_trusted(model, images, TrustRequest(conformal=everything))
    assert set(digit.class_set) == set(model.class_names)
    assert digit.class_set[0] == digit.classes[0].name
    assert digit.to_json()["set"][0] == "0"
    nothing = ConformalFit(0.9, "lac", -1.0, 100, "digits", "validation")
    (digit, *_rest) = predict_trusted(model, images, TrustRequest(conformal=nothing))
    assert digit.class_set == ("0",)


def test_command(model, images, tmp_path):
    save_model(model, tmp_path / "linear.safetensors")
    words = ["predict", str(tmp_path / "linear.safetensors"), str(images / "0.png"), str(images / "1.png")]
    flags = ["--coverage", "0.9", "--flag-unfamiliar"]
    document = json.loads(CliRunner().invoke(app, [*words, *flags, "--json"], catch_exceptions=False).stdout)
    assert [each["familiarity"]["is_unfamiliar"] for each in document["predictions"]] == [False, True]
    assert document["predictions"][0]["set"] == ["0"]
    assert document["conformal"]["num_images"] == 180
    told = CliRunner().invoke(app, [*words, *flags, "--top", "1"], catch_exceptions=False).stdout
    assert "set: 0" in told
    assert "UNFAMILIAR" in told
    averaged = CliRunner().invoke(app, [*words, "--average", "ten_crop", "--json"], catch_exceptions=False)
    assert json.loads(averaged.stdout)["average"] == "ten_crop"


def test_what_does_not_go_together(model, images):
    fit = ConformalFit(0.9, "lac", 0.5, 100, "digits", "validation")
    with pytest.raises(InputError, match="calibrated for plain answers"):
        TrustRequest(conformal=fit, average="mirror")
    with pytest.raises(InputError, match="level of unfamiliar images must lie between 0 and 1 but is 2"):
        TrustRequest(level=2)
    with pytest.raises(InputError, match="mlp sees images of one size only"):
        list(predict_trusted(model, images, TrustRequest(average="five_scales")))
