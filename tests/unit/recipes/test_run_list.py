"""The list of runs: each with the score of its task."""

import json

import pytest

from striate.recipes.run_folder import FORMAT
from striate.recipes.run_list import list_runs


@pytest.mark.parametrize(
    ("task", "figures", "shown"),
    [
        ("classification", {"top1_accuracy": 0.5, "top1_interval": [0.25, 0.75]}, ("accuracy", 0.5, 0.5, (0.25, 0.75))),
        ("detection", {"ap": 0.5, "ap_interval": [0.25, 0.75]}, ("AP", 0.5, None, (0.25, 0.75))),
        ("detection", {"ap": None, "ap_interval": None}, ("AP", None, None, None)),
        ("segmentation", {"mean_iou": 0.5, "mean_iou_interval": [0.25, 0.75]}, ("mean IoU", 0.5, None, (0.25, 0.75))),
        (
            "localization",
            {"localization_accuracy": 0.5, "localization_interval": [0.25, 0.75], "top1_accuracy": 0.9},
            ("both right", 0.5, None, (0.25, 0.75)),
        ),
    ],
)
def test_a_run_has_the_score_of_its_task(task, figures, shown, tmp_path):
    described = {
        "format": FORMAT, "recipe": {}, "data": {}, "source": "photos", "network": {"name": "n"}, "preprocessing": {},
        "machine": {}, "class_names": [], "versions": {}, "notices": [], "status": "finished", "started_at": "2026",
        "elapsed_s": 1.0, "task": {"name": task},
    }  # fmt: skip
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(described))
    (tmp_path / "run" / "evaluation.json").write_text(json.dumps({"split": "test", **figures}))
    (row,) = list_runs(tmp_path).runs
    assert (row.score_label, row.score, row.accuracy, row.interval) == shown
    (tmp_path / "run" / "evaluation.json").write_text('{"split": "test"}')
    assert "is damaged" in list_runs(tmp_path).damaged[0][1]
    (tmp_path / "run" / "run.json").write_text(json.dumps({**described, "task": {"name": "knitting"}}))
    assert "is damaged" in list_runs(tmp_path).damaged[0][1]
