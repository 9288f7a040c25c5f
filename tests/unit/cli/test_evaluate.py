"""`striate evaluate` with what says how far to believe a model: computed once, and refused where it means nothing."""

import json

import pytest
from typer.testing import CliRunner

from striate.baselines.baseline import baseline
from striate.baselines.linear_model import linear_model
from striate.cli.app import app
from striate.data.opening import Access
from striate.errors import InputError
from striate.evaluation.class_probabilities import class_probabilities_of
from striate.evaluation.evaluate_model import choose_part, evaluate
from striate.networks.families.mlp import MLP
from striate.tasks.classification.selective import threshold_for
from striate.tasks.model import load_model, save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        path = tmp_path_factory.mktemp("model") / "linear.safetensors"
        save_model(linear_model(baseline("digits", kinds=("softmax",))), path)
        yield str(path)


def test_a_threshold_costs_no_second_pass(model, monkeypatch):
    seen = []
    forward = MLP.forward
    monkeypatch.setattr(MLP, "forward", lambda self, images: (seen.append(len(images)), forward(self, images))[1])
    done = CliRunner().invoke(app, ["evaluate", model, "--allowed-error", "0.1", "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert sum(seen) == document["num_images"] == 180
    assert document["threshold"] == document["selective"]["thresholds"][3]
    assert document["threshold"]["coverage"] > 0.5


def test_a_threshold_is_that_of_the_averaged_answers(model):
    loaded = load_model(model)
    part = choose_part(loaded, None, None, Access(), prefer=("test",))
    averaged = class_probabilities_of(loaded, part.packed, part.indices, average="mirror")
    right = averaged.argmax(axis=1) == part.labels[part.indices]
    expected = threshold_for(averaged.max(axis=1), right, 0.3)
    found = evaluate(loaded, average="mirror").evaluation.threshold(0.3)
    assert found.coverage == expected.coverage
    assert found.confidence == pytest.approx(expected.confidence, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--coverage", "0.9", "--average", "six"], "plain answers"),
        (["--corruption", "shift", "--average", "six"], "plain answers"),
        (["--allowed-error", "1"], "must lie between 0 and 1 but is 1"),
        (["--coverage", "90"], "must lie between 0 and 1 but is 90"),
        (["--corruption", "fire"], "fire"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_computed(words, message, model, monkeypatch):
    monkeypatch.setattr(MLP, "forward", lambda *_: pytest.fail("computed"))
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(app, ["evaluate", model, *words], catch_exceptions=False)
