"""A search on real digits: it stops what is behind, looks at the test part once, and goes on where it was killed."""

import json

import pytest
from typer.testing import CliRunner

from striate.cli.app import app
from striate.errors import InputError
from striate.recipes import tune as tuning
from striate.recipes.choices import Choices
from striate.recipes.tune import tune
from striate.recipes.tuning_space import Dimension, default_space, read_space
from striate.recipes.tuning_trial import read_scores, watch_trial
from striate.reports.tune_page import tune_page
from striate.training.recipe import OptimizerConfig, Recipe

QUICK = {"network": "mlp", "epochs": 2, "seed": 0}


def test_a_space_is_read_and_checked(tmp_path):
    path = tmp_path / "space.json"
    path.write_text(
        '{"learning_rate": {"low": 1e-4, "high": 0.1, "log": true}, "network": {"choices": ["mlp", "lenet5"]}}'
    )
    rate, network = read_space(path)
    assert (rate.low, rate.high, rate.is_log) == (1e-4, 0.1, True)
    assert network.choices == ("mlp", "lenet5")
    for text, words in (
        ("[", "is no JSON"),
        ("{}", "should hold an object"),
        ('{"momentun": {"low": 0, "high": 1}}', "cannot vary"),
        ('{"epochs": {"low": 1, "high": 9}}', "cannot vary"),
        ('{"momentum": {"low": 1, "high": 0}}', "is no range"),
        ('{"learning_rate": {"low": 0, "high": 1, "log": true}}', "no range in log space"),
        ('{"network": {"choices": []}}', "at least one"),
        ('{"momentum": {"from": 1}}', "should have low and high"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_space(path)


def test_the_usual_space_holds_the_usual_settings():
    recipe = Recipe(network="mlp", epochs=2, batch_size=64, optimizer=OptimizerConfig(learning_rate=0.05))
    names = {dimension.name: dimension for dimension in default_space(recipe)}
    assert names["learning_rate"].low < 0.05 < names["learning_rate"].high
    assert names["batch_size"].choices == (32, 64, 128)


def test_scores_of_a_half_written_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "epoch", "epoch": 1, "validation_accuracy": 0.5}\n{"kind": "note"}\n{"kind": "epo')
    assert read_scores(path, "accuracy") == [0.5]
    assert read_scores(tmp_path / "none", "accuracy") == []


@pytest.mark.slow
def test_a_search_tests_its_winner_once_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    space = (Dimension("learning_rate", 1e-7, 0.3, is_log=True),)
    calls = []

    def killed_at_the_second(*arguments):
        calls.append(arguments[0].name)
        if len(calls) == 2:
            watch_trial(*arguments[:3], lambda *_: True, arguments[4])  # begun, one epoch long
            raise KeyboardInterrupt
        return watch_trial(*arguments)

    monkeypatch.setattr(tuning, "watch_trial", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        tune("digits", Choices(**QUICK), folder=tmp_path / "tuned", space=space, num_trials=3)
    monkeypatch.setattr(tuning, "watch_trial", watch_trial)
    found = tune("digits", Choices(**QUICK), folder=tmp_path / "tuned", space=space, num_trials=3)
    assert len(found.trials) == 3
    assert len({str(trial.settings) for trial in found.trials}) == 3
    assert sorted(path.name for path in (tmp_path / "tuned").glob("trial-*"))[:2] == ["trial-000", "trial-001"]
    best = next(trial for trial in found.trials if trial.number == found.best)
    assert best.end == "finished"
    assert best.score == max(trial.score for trial in found.trials if trial.end == "finished")
    assert not list((tmp_path / "tuned").glob("trial-*/run/evaluation.json")), "no trial looks at the test part"
    assert (found.winner.path / "evaluation.json").is_file()
    assert found.winner.split == "test"
    page = tune_page(json.loads((tmp_path / "tuned" / "tune.json").read_text()))
    assert "Every trial" in page
    with pytest.raises(InputError, match="holds a search of other data, settings or space"):
        tune("digits", Choices(**{**QUICK, "epochs": 3}), folder=tmp_path / "tuned", space=space)


def test_what_cannot_be_searched(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    with pytest.raises(InputError, match="exists and is no search"):
        tune("digits", Choices(**QUICK), folder=tmp_path / "mine")
    with pytest.raises(InputError, match="at least one trial and some minutes but has 0 and 30"):
        tune("digits", folder=tmp_path / "tuned", num_trials=0)
    done = CliRunner().invoke(app, ["tune", "digits", "--space", str(tmp_path / "none.json")])
    assert "cannot be read" in str(done.exception)
