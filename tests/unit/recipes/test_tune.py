"""A search on real digits: it stops what is behind, looks at the test part once, and goes on where it was killed."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from striate.cli.app import app
from striate.data.augmentation_settings import Augmentation
from striate.data.opening import Access
from striate.data.readers.columns import Columns
from striate.errors import InputError, RunError
from striate.recipes import tuning_study
from striate.recipes.choices import Choices
from striate.recipes.run_lock import locking_run
from striate.recipes.tune import tune
from striate.recipes.tuning_space import Dimension, default_space, read_space, usual_settings
from striate.recipes.tuning_study import import_optuna, importances, open_study
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
    names = {dimension.name: dimension for dimension in default_space(recipe, 1000)}
    assert names["learning_rate"].low < 0.05 < names["learning_rate"].high
    assert names["batch_size"].choices == (32, 64, 128)
    few = {dimension.name: dimension for dimension in default_space(recipe, 70, smooths_labels=False)}
    assert few["batch_size"].choices == (32, 64)
    assert "label_smoothing" not in few


def test_the_first_trial_takes_what_a_run_would_take_wherever_a_recipe_keeps_it():
    recipe = Recipe(
        network="mlp",
        epochs=2,
        batch_size=64,
        augmentation=Augmentation(crop_scale=(0.35, 1.0), shift_px=2),
        freeze="base",
    )
    space = (
        Dimension("shift_px", 0, 4),
        Dimension("optimizer", choices=("adamw", "nesterov")),
        Dimension("schedule", choices=("one_cycle", "cosine")),
        Dimension("freeze", choices=("all", "head")),
        Dimension("crop_scale", choices=([0.35, 1.0], [0.8, 1.0])),
        Dimension("weight_decay", 1e-6, 0.1, is_log=True),
    )
    assert usual_settings(space, recipe) == {
        "shift_px": 2,
        "optimizer": "nesterov",
        "schedule": "one_cycle",
        "freeze": "head",
        "crop_scale": [0.35, 1.0],
    }


def test_a_space_has_values_that_its_settings_can_take():
    assert Dimension("batch_size", 8, 64).is_whole
    for name, rest, words in (
        ("network", {"low": 1, "high": 2}, "a word, which has no range"),
        ("network", {"choices": (1, 2)}, "a word, which the choice 1 is not"),
        ("flip", {"choices": ("yes",)}, "true or false, which the choice 'yes' is not"),
        ("learning_rate", {"choices": ("a",)}, "a number, which"),
        ("crop_scale", {"choices": (0.5,)}, "two numbers, which"),
        ("batch_size", {"low": 0.5, "high": 8}, "no range of whole numbers"),
        ("shift_px", {"low": 0, "high": 4, "is_log": True}, "in log space"),
        ("momentum", {"low": False, "high": True}, "no range"),
        ("batch_size", {"choices": (0,)}, "batch_size must be a whole number of at least 1"),
    ):
        with pytest.raises(InputError, match=words):
            Dimension(name, **rest)


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

    monkeypatch.setattr(tuning_study, "watch_trial", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        tune("digits", Choices(**QUICK), folder=tmp_path / "tuned", space=space, num_trials=3)
    monkeypatch.setattr(tuning_study, "watch_trial", watch_trial)
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
    again = tune("digits", Choices(**QUICK), folder=tmp_path / "tuned", space=space, num_trials=3)
    assert (again.winner.path, again.num_winners) == (found.winner.path, 1), "asked again, the test part is not"
    page = tune_page(json.loads((tmp_path / "tuned" / "tune.json").read_text()))
    assert "Every trial" in page
    assert "looked at once" in page
    assert "2 winners of this search" in tune_page({**again.to_json(), "num_winners": 2})
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


def test_a_file_or_a_damaged_study_or_a_folder_in_use_is_no_place_for_a_search(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "file").write_text("words")
    with pytest.raises(InputError, match="exists and is no search"):
        tune("digits", Choices(**QUICK), folder=tmp_path / "file")
    folder = tmp_path / "tuned"
    folder.mkdir()
    with locking_run(folder), pytest.raises(RunError, match="is in use by process"):
        tune("digits", Choices(**QUICK), folder=folder)
    (folder / "journal.log").write_bytes(b"\0\0\n{}\n")
    with pytest.raises(InputError, match=r"journal.log is damaged"):
        tune("digits", Choices(**QUICK), folder=folder)
    (folder / "study.json").write_text("{")
    with pytest.raises(InputError, match=r"study.json is damaged"):
        tune("digits", Choices(**QUICK), folder=folder)


def test_a_search_that_goes_on_draws_other_settings_than_before(tmp_path):
    optuna, recipe = import_optuna(), Recipe(network="mlp", epochs=2, batch_size=64, seed=2**40)
    drawn = []
    for _ in range(3):
        study = open_study(optuna, tmp_path, recipe, 20)
        trial = study.ask()
        drawn.append(trial.suggest_float("momentum", 0, 1))
        study.tell(trial, 0.5)
    assert len(set(drawn)) == 3


@pytest.mark.slow
def test_a_trial_reads_the_columns_asked_for_and_imports_nothing_from_where_it_is_started(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    rows = ["photo,species,category"]
    for k in range(24):
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / "images" / f"{k}.png")
        rows.append(f"{k}.png,{'ab'[k % 2]},{k}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    (tmp_path / "json.py").write_text("from pathlib import Path; Path('imported').touch()")
    access = Access(columns=Columns(path="photo", label="species", root="images"))
    space = (Dimension("crop_scale", choices=(None, [0.5, 1.0])),)
    found = tune(
        "table.csv", Choices(network="mlp", epochs=1), folder="tuned", space=space, num_trials=2, access=access
    )
    assert [trial.end for trial in found.trials] == ["finished"] * 2
    described = json.loads((tmp_path / "tuned" / "trial-000" / "run" / "run.json").read_text())
    assert described["class_names"] == ["a", "b"]
    assert not (tmp_path / "imported").exists()


def test_nothing_is_said_of_what_mattered_where_trials_are_few_or_alike(tmp_path):
    optuna, recipe = import_optuna(), Recipe(network="mlp", epochs=2, batch_size=64)
    study = open_study(optuna, tmp_path, recipe, 20)
    for _ in range(6):
        trial = study.ask()
        momentum = trial.suggest_float("momentum", 0, 1)
        trial.suggest_float("weight_decay", 0, 1)
        if trial.number == 4:
            assert importances(optuna, study) == {}
        study.tell(trial, 0.5 if trial.number < 4 else momentum)
    assert set(importances(optuna, study)) == {"momentum", "weight_decay"}


@pytest.mark.parametrize(("score", "shown"), [("ap", "AP of the winner"), ("mean_iou", "mean IoU of the winner")])
def test_the_page_shows_the_score_of_any_task(score, shown):
    evaluation = {score: 0.4321, f"{score}_interval": [0.4, 0.5]}
    winner = {"evaluation": evaluation, "split": "test"}
    page = tune_page(
        {
            "source": "s",
            "score": score,
            "best": 0,
            "trials": [],
            "seconds": 1.0,
            "winner": winner,
            "num_winners": 1,
            "importances": {},
        }
    )
    assert shown in page
    assert "43.21\N{NO-BREAK SPACE}%" in page
    assert "40.00\N{NO-BREAK SPACE}% to 50.00\N{NO-BREAK SPACE}%" in page
