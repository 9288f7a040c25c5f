"""Temperature scaling: by hand, on answers that are too sure by a known factor, and against scikit-learn and SciPy."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.optimize import minimize_scalar
from sklearn.calibration import _TemperatureScaling

from export_cases import small_model
from striate.errors import InputError, NonFiniteLoss
from striate.evaluation.evaluate_model import evaluate
from striate.evaluation.temperature_scaling import HIGHEST, LOWEST, calibrate, fit_temperature, likely_temperatures
from striate.tasks.classification.logits import class_probabilities, tempered


def loss_at(logits, labels, temperature):
    return float(torch.nn.functional.cross_entropy(logits.double() / temperature, labels))


def drawn(num_images, num_classes, factor, seed):
    """Labels drawn with the probabilities that logits / factor stand for."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(num_images, num_classes, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    return factor * logits, labels


def test_by_hand():
    """Four images, each answered (0, 2), three of them rightly: it should be sure by 3/4, so 2 / T = ln 3."""
    logits = torch.tensor([[0.0, 2.0]] * 4)
    labels = torch.tensor([1, 1, 0, 1])
    assert fit_temperature(logits, labels) == pytest.approx(2 / math.log(3), rel=1e-5)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_answers_too_sure_by_a_known_factor(factor):
    logits, labels = drawn(20_000, 10, factor, seed=1)
    assert fit_temperature(logits, labels) == pytest.approx(factor, rel=0.04)


@pytest.mark.parametrize("num_classes", [2, 7, 100])
def test_against_scikit_learn_and_scipy(num_classes):
    logits, labels = drawn(600, num_classes, 2.5, seed=num_classes)
    found = fit_temperature(logits, labels)
    best = minimize_scalar(lambda t: loss_at(logits, labels, t), bounds=(LOWEST, HIGHEST), options={"xatol": 1e-7})
    assert found == pytest.approx(best.x, rel=1e-4)
    theirs = _TemperatureScaling().fit(logits.double().numpy(), labels.numpy())
    assert found == pytest.approx(1 / theirs.beta_, rel=1e-3)


def test_the_interval_holds_the_truth_in_19_of_20_draws():
    """And its ends lose 1.92 nats of log likelihood in all: by hand for answers (0, 2) right three times in four."""
    covered = 0
    for seed in range(200):
        logits, labels = drawn(150, 4, 2.0, seed)
        low, high = likely_temperatures(logits, labels, fit_temperature(logits, labels))
        covered += low <= 2.0 <= high
    assert 180 <= covered <= 199
    logits, labels = torch.tensor([[0.0, 2.0]] * 40), torch.tensor([1, 1, 0, 1] * 10)
    best = 2 / math.log(3)
    for end in likely_temperatures(logits, labels, best):
        sure = 1 / (1 + math.exp(-2 / end))
        lost = 30 * math.log(0.75 / sure) + 10 * math.log(0.25 / (1 - sure))
        assert lost == pytest.approx(3.841459 / 2, rel=2e-3)


@given(
    st.integers(2, 6), st.integers(1, 40), st.floats(0.01, 100), st.integers(0, 2**31), st.sampled_from([0.0, 1000.0])
)
def test_no_other_temperature_is_better(num_classes, num_images, spread, seed, shift):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(num_images, num_classes, generator=generator) + shift
    labels = torch.randint(num_classes, (num_images,), generator=generator)
    found = fit_temperature(logits, labels)
    assert found * (1 + 1e-6) >= LOWEST
    assert found <= HIGHEST * (1 + 1e-6)
    least = loss_at(logits, labels, found)
    for other in np.geomspace(LOWEST, HIGHEST, 41):
        assert least <= loss_at(logits, labels, float(other)) + 1e-5 * max(1, least)


def test_a_temperature_changes_how_sure_and_not_what():
    logits = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    plain, soft = class_probabilities(logits), class_probabilities(logits, 3.0)
    assert torch.equal(plain, logits.softmax(1))
    assert torch.equal(plain.argmax(1), soft.argmax(1))
    assert (soft.amax(1) < plain.amax(1)).all()
    single = torch.tensor([[3.0], [-2.0]])  # one output: the logit of the second class
    torch.testing.assert_close(class_probabilities(single, 2.0)[:, 1], torch.sigmoid(single[:, 0] / 2))
    network = torch.nn.Identity()
    assert tempered(network, 1) is network
    torch.testing.assert_close(tempered(network, 3.0)(logits).softmax(1), soft)


@pytest.fixture
def photos(tmp_path):
    """Sixty pictures of noise in three folders: nobody can tell them apart."""
    rng = np.random.default_rng(0)
    for number in range(60):
        folder = tmp_path / "photos" / f"class {number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "photos"


def sure_model():
    """It says the same class of everything, and is very sure of it."""
    model = small_model(torch.nn.Identity())
    with torch.no_grad():
        model.network[-1].weight.zero_()
        model.network[-1].bias.copy_(torch.tensor([6.0, 0.0, 0.0]))
    return model


def test_a_model_that_is_too_sure(photos):
    calibrated, fit = calibrate(sure_model(), photos)
    # it is right in a third of all cases; nothing but certainty of a third, however hot it must get, fits
    assert fit.temperature == calibrated.temperature == pytest.approx(HIGHEST, rel=1e-3)
    assert (fit.temperature_before, fit.split, fit.num_images) == (1.0, "all", 60)
    assert fit.before.calibration_error > 0.6
    assert fit.after.calibration_error < 0.1
    assert fit.after.negative_log_likelihood == pytest.approx(math.log(3), abs=0.05)
    assert calibrated.provenance["calibration"] == fit.to_json()
    measured = evaluate(calibrated, photos)
    assert measured.temperature == calibrated.temperature
    assert measured.evaluation.calibration_error == pytest.approx(fit.after.calibration_error, abs=1e-6)
    assert measured.evaluation.negative_log_likelihood == pytest.approx(fit.after.negative_log_likelihood, abs=1e-6)
    assert evaluate(calibrated, photos, average="mirror").evaluation.calibration_error < 0.1
    again, refit = calibrate(calibrated, photos)
    assert again is calibrated
    assert not refit.is_change


def test_images_that_do_not_tell(photos):
    model = dataclasses.replace(sure_model(), class_names=("class 0", "class 1", "class 2"))
    for folder in ("class 1", "class 2"):
        for path in (photos / folder).iterdir():
            path.unlink()
    with pytest.raises(InputError, match="cannot fit a temperature: none of the 20 images is misclassified"):
        calibrate(model, photos)
    for path in sorted((photos / "class 0").iterdir())[:10]:
        path.rename(photos / "class 1" / path.name)
    with pytest.raises(InputError, match="cannot fit a temperature: 20 images are fewer than"):
        calibrate(model, photos)


def test_damaged_weights_are_told(photos):
    model = sure_model()
    with torch.no_grad():
        model.network[-1].bias.fill_(torch.nan)
    with pytest.raises(NonFiniteLoss, match="answers some images with NaN or infinity"):
        calibrate(model, photos)
