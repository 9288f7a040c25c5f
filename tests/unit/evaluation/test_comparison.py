"""Models compared on the images that belong to the test part of each."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from striate.baselines.baseline import baseline
from striate.baselines.linear_model import linear_model
from striate.cli.app import app
from striate.errors import InputError
from striate.evaluation.comparison import compare
from striate.evaluation.evaluate_model import evaluate
from striate.reports.comparison_page import comparison_page
from striate.tasks.model import save_model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Softmax regression on digits, a damaged copy of it, and one trained on the splits of another seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRIATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        good = linear_model(baseline("digits", kinds=("softmax",)))
        other = linear_model(baseline("digits", kinds=("softmax",), seed=5))
        bad = dataclasses.replace(good, network=linear_model(baseline("digits", kinds=("softmax",))).network)
        with torch.no_grad():
            bad.network.head.weight[3] = 0
        yield good, bad, other


def test_figures_are_those_of_evaluate_and_of_hand_counting(models):
    good, bad, _ = models
    found = compare([good, bad], "digits", names=["good", "bad"], group_by="class", num_thumbnails=5)
    assert (found.split, found.num_images) == ("test", 180)
    for one, model in zip(found.models, (good, bad), strict=True):
        own = evaluate(model, "digits")
        assert one.accuracy == own.top1_accuracy
        assert one.negative_log_likelihood == pytest.approx(own.evaluation.negative_log_likelihood, rel=1e-5)
    (pair,) = found.pairs
    assert pair.both_right + pair.only_first + pair.only_second + pair.both_wrong == 180
    assert pair.difference == pytest.approx(found.models[1].accuracy - found.models[0].accuracy)
    assert pair.interval[0] <= pair.difference <= pair.interval[1] < 0
    assert pair.is_told
    assert len(found.disagreements) == pair.only_first + pair.only_second
    assert all((each.label in each.predictions) and len(set(each.predictions)) == 2 for each in found.disagreements)
    assert found.models[1].groups[0].name == "3"
    assert found.models[1].groups[0].is_worse
    assert sum(group.num_images for group in found.models[0].groups) == 180
    assert len(found.thumbnails) == min(5, len(found.disagreements))
    page = comparison_page(found)
    assert page.count("<img") == len(found.thumbnails)
    assert "worse than the rest by more than chance" in page


def test_no_image_of_anyones_training_is_compared(models):
    good, _, other = models
    found = compare([good, other], "digits")
    assert 0 < found.num_images < 180
    from striate.data.opening import Access
    from striate.evaluation.evaluate_model import open_parts

    parts = [open_parts(model, "digits", Access()).parts for model in (good, other)]
    assert found.num_images == len(np.intersect1d(parts[0]["test"], parts[1]["test"]))
    assert compare([good, good], "digits", names=["a", "b"]).pairs[0].p_value == 1.0


def test_command(models, tmp_path):
    good, bad, _ = models
    save_model(good, tmp_path / "good.safetensors")
    save_model(bad, tmp_path / "bad.safetensors")
    words = ["compare", str(tmp_path / "good.safetensors"), str(tmp_path / "bad.safetensors"), "digits"]
    document = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert [each["name"] for each in document["models"]] == words[1:3]
    assert document["pairs"][0]["is_told"] is True
    told = CliRunner().invoke(app, words[:3], catch_exceptions=False)
    assert "good.safetensors is better than" in told.stdout
    only = CliRunner().invoke(app, [words[0], words[1], "digits", "--group-by", "class"], catch_exceptions=False)
    assert "by class: lowest is" in only.stdout


def test_what_cannot_be_compared(models):
    with pytest.raises(InputError, match="two models or more"):
        compare([models[0]], "digits")
    with pytest.raises(InputError, match="a name for each of 2 models"):
        compare(models[:2], "digits", names=["one"])
    with pytest.raises(InputError, match="split must be one of"):
        compare(models[:2], "digits", split="tset")
