"""Sets of classes: by hand, and their coverage on 20 splits of real digits."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import betabinom
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from striate.baselines.baseline import baseline
from striate.baselines.linear_model import linear_model
from striate.cli.app import app
from striate.errors import InputError
from striate.evaluation.conformal import (
    ConformalFit,
    conformal_scores,
    conformal_sets,
    conformal_threshold,
    evaluate_sets,
    fit_conformal,
    stored_conformal,
)
from striate.tasks.model import load_model, save_model

PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])


def test_scores_and_sets_by_hand():
    assert conformal_scores(PROBABILITIES) == pytest.approx(1 - PROBABILITIES)
    assert conformal_scores(PROBABILITIES, "aps") == pytest.approx(np.array([[0.5, 0.8, 1.0], [0.9, 1.0, 0.8]]))
    assert conformal_sets(PROBABILITIES, 0.75).tolist() == [[True, True, False], [False, False, True]]
    assert conformal_sets(PROBABILITIES, 0.1, allow_empty=True).sum() == 0
    assert conformal_sets(PROBABILITIES, 0.1).tolist() == [[True, False, False], [False, False, True]]
    assert conformal_sets(PROBABILITIES, 0.85, "aps").tolist() == [[True, True, False], [False, False, True]]


def test_threshold_by_hand():
    """Nine scores and 80 %: the ceil(10 * .8) = 8th smallest; 95 % would need a tenth."""
    scores = np.arange(9) / 10
    assert conformal_threshold(scores, 0.8) == pytest.approx(0.7)
    assert conformal_threshold(scores, 0.9) == pytest.approx(0.8)
    assert conformal_threshold(scores, 0.95) == np.inf
    with pytest.raises(InputError, match="between 0 and 1 but is 1"):
        conformal_threshold(scores, 1.0)
    with pytest.raises(InputError, match="lac or aps but is 'raps'"):
        conformal_scores(PROBABILITIES, "raps")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # fitted short on purpose
@pytest.mark.parametrize("method", ["lac", "aps"])
def test_coverage_on_twenty_splits_is_within_its_interval(method, seed):
    """How many of the test images are covered is beta-binomial (arXiv:2107.07511, section 3.2): each split may lie
    outside its 95 % interval now and then, the mean of all hardly.
    """
    digits = load_digits()
    draw = np.random.default_rng(seed)
    fit_on = draw.permutation(len(digits.target))[:300]  # few and short, so that there are mistakes
    model = LogisticRegression(C=1e-4, max_iter=20).fit(digits.data[fit_on], digits.target[fit_on])
    others = np.setdiff1d(np.arange(len(digits.target)), fit_on)
    probabilities, labels = model.predict_proba(digits.data[others]), digits.target[others]
    num_held, outside, covered_all = 500, 0, []
    num_test = len(others) - num_held
    rank = int(np.ceil((num_held + 1) * 0.9))
    low, high = betabinom.ppf([0.025, 0.975], num_test, rank, num_held + 1 - rank)
    for _ in range(20):
        order = draw.permutation(len(others))
        held, test = order[:num_held], order[num_held:]
        scores = conformal_scores(probabilities[held], method)[np.arange(num_held), labels[held]]
        sets = conformal_sets(probabilities[test], conformal_threshold(scores, 0.9), method, allow_empty=True)
        covered = sets[np.arange(num_test), labels[test]].sum()
        covered_all.append(covered / num_test)
        outside += not low <= covered <= high
    assert outside <= 5  # by chance alone six or more of twenty in 3 of 10,000
    assert np.mean(covered_all) == pytest.approx(0.9, abs=0.012)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield linear_model(baseline("digits", kinds=("softmax",)))


def test_of_a_model_on_its_own_parts(model):
    fit = fit_conformal(model, 0.9)
    assert (fit.split, fit.num_images, fit.method) == ("validation", 180, "lac")
    figures = evaluate_sets(model, fit)
    assert figures.split == "test"
    assert figures.covered.interval[1] >= 0.9
    assert figures.mean_size >= 1
    with pytest.raises(InputError, match="hold by construction"):
        evaluate_sets(model, fit, split="validation")
    with pytest.raises(InputError, match="has images that the model was trained on"):
        fit_conformal(model, 0.9, split="train")


def test_stored_ones_are_taken_only_at_their_temperature(model):
    fit = fit_conformal(model, 0.9)
    kept = dataclasses.replace(model, provenance={**model.provenance, "conformal": [fit.to_json(), "rubbish", {}]})
    assert stored_conformal(kept, 0.9) == fit
    assert stored_conformal(kept, 0.8) is None
    assert stored_conformal(dataclasses.replace(kept, temperature=2.0), 0.9) is None
    endless = dataclasses.replace(fit, threshold=np.inf)
    assert ConformalFit.from_json(json.loads(json.dumps(endless.to_json()))) == endless


def test_calibrate_keeps_the_threshold_in_the_file(model, tmp_path, monkeypatch):
    path = tmp_path / "linear.safetensors"
    save_model(model, path)
    for coverage in ("0.9", "0.8", "0.9"):
        words = ["calibrate", str(path), "--coverage", coverage, "--json"]
        document = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    kept = load_model(path)
    assert [each["coverage"] for each in kept.provenance["conformal"]] == [0.8, 0.9]
    assert stored_conformal(kept, 0.9).to_json() == document["conformal"]
    assert kept.temperature == model.temperature

    def must_not_run(*_, **__):
        raise AssertionError("what is stored needs no images")

    monkeypatch.setattr("striate.evaluation.conformal.choose_part", must_not_run)
    Image.fromarray((load_digits().images[0] * 15.9).astype(np.uint8)).save(tmp_path / "0.png")
    words = ["predict", str(path), str(tmp_path / "0.png"), "--coverage", "0.9", "--json"]
    document = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    assert document["predictions"][0]["set"] == ["0"]


def test_commands(model, tmp_path):
    path = tmp_path / "linear.safetensors"
    save_model(model, path)
    words = ["evaluate", str(path), "--coverage", "0.95", "--allowed-error", "0.1"]
    document = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert document["sets"]["fit"]["coverage"] == 0.95
    assert document["threshold"]["error"] <= 0.1
    assert 0 < document["threshold"]["coverage"] <= 1
    told = CliRunner().invoke(app, words, catch_exceptions=False).stdout.replace("\n", " ")
    assert "hold the right class of" in told
    assert "are wrong at most 10.00 % of the time" in told
