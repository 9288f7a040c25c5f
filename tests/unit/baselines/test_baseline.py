"""Baselines of real digits, as function, command, page and saved model."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from striate.baselines.baseline import KINDS, baseline
from striate.baselines.linear_model import linear_model
from striate.baselines.run_panel import write_baselines
from striate.cli.app import app
from striate.data.packed import PackedImages
from striate.errors import InputError
from striate.evaluation.evaluate_model import evaluate
from striate.reports.baseline_page import baseline_page
from striate.robustness.attack_model import AttackRequest, attack
from striate.tasks.model import load_model, save_model


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield baseline("digits")


def test_digits_without_a_network(digits):
    """The splits are those of `train`: 180 test images, the commonest class at a tenth, neighbours far above every
    linear classifier.
    """
    assert (digits.split, digits.num_images, digits.num_fitted) == ("test", 180, 1617)
    found = {each.kind: each for each in digits.baselines}
    assert tuple(found) == KINDS
    assert found["majority"].accuracy == pytest.approx(0.1, abs=0.02)
    assert found["knn_l2"].accuracy > 0.97
    assert found["softmax"].accuracy > 0.93
    assert found["linear_svm"].accuracy > 0.93
    for each in digits.baselines:
        hits = (digits.predicted[each.kind] == digits.labels).sum()
        assert each.accuracy == hits / 180
        assert each.interval[0] < each.accuracy < each.interval[1]


@pytest.mark.parametrize("kind", ["softmax", "linear_svm"])
def test_a_linear_one_is_a_model_like_any_other(digits, kind, tmp_path):
    path = tmp_path / "linear.safetensors"
    save_model(linear_model(digits, kind), path)
    model = load_model(path)
    (own,) = (each for each in digits.baselines if each.kind == kind)
    assert evaluate(model).top1_accuracy == pytest.approx(own.accuracy, abs=1e-9), "on its own splits, found again"
    request = AttackRequest(method="sign_of_weights", epsilon=0.1)
    outcome = attack(model, None, request, limit=50)
    assert outcome.to_json()["robust_accuracy"] < own.accuracy


def test_what_cannot_be_saved_or_measured(digits):
    with pytest.raises(InputError, match="baselines that can be saved are softmax and linear_svm but not knn_l2"):
        linear_model(digits, "knn_l2")
    with pytest.raises(InputError, match="not forest"):
        baseline("digits", kinds=("forest",))
    with pytest.raises(InputError, match="name a SOURCE"):
        baseline()


def test_command_and_page(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    page, saved = tmp_path / "page.html", tmp_path / "linear.safetensors"
    words = ["baseline", "digits", "--only", "majority", "--only", "softmax", "--html", str(page), "--save", str(saved)]
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert [each["kind"] for each in document["baselines"]] == ["majority", "softmax"]
    assert document["best"] == "softmax"
    assert page.read_text().count('<img src="data:image/jpeg') == 10
    beside = json.loads(
        CliRunner().invoke(app, ["baseline", str(saved), "--only", "knn_l2", "--json"], catch_exceptions=False).stdout
    )
    assert beside["network"]["accuracy"] == document["baselines"][1]["accuracy"]
    assert beside["num_images"] == 180
    told = CliRunner().invoke(app, ["baseline", str(saved), "--only", "knn_l2"], catch_exceptions=False).stdout
    assert "at least as accurate as the network" in told


def test_page_escapes_names(digits):
    from dataclasses import replace

    page = baseline_page(replace(digits, source="<script>", class_names=("<b>", *digits.class_names[1:])))
    assert "<script>" not in page
    assert "<b>0" not in page


def test_report_panel_has_figures_or_a_reason(tmp_path):
    draw = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = [draw.integers(0, 60, (6, 6, 1), dtype=np.uint8) + np.uint8(150 * label) for label in labels]
    packed = PackedImages.from_images(images)
    panel = write_baselines(tmp_path, packed, np.arange(30), np.arange(30, 40), labels, ("dark", "light"))
    assert json.loads(json.dumps(panel)) == json.loads((tmp_path / "baselines.json").read_text())
    assert [each["kind"] for each in panel["baselines"]] == ["majority", "knn_l2", "softmax"]
    assert panel["baselines"][1]["accuracy"] == 1.0
    assert (panel["pixel_side"], panel["num_fitted"], panel["num_images"]) == (6, 30, 10)
