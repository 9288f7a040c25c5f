"""The robustness panel of a run's report, on a network whose limits are known by hand."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.errors import RunError
from striate.robustness.run_panel import ROBUSTNESS_FILE, write_robustness

PREPROCESSING = Preprocessing(1, 1, (1, 1), (0.0,), (1.0,))
PIXELS = [129, 130, 133, 200, 126, 90]  # away from the threshold, 127.5, by 1.5, 2.5, 5.5, 72.5, 1.5 and 37.5 steps
LABELS = np.array([1, 1, 1, 1, 0, 1])  # the last one is answered wrongly as it is


class Threshold(nn.Module):
    """Class 1 where a single pixel is above the middle of its range."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = images.flatten(1)[:, :1] - 0.5
        return torch.cat([-value, value], dim=1)


def panel_of(run_dir, network):
    packed = PackedImages.from_images([np.full((1, 1, 1), value, np.uint8) for value in PIXELS])
    return write_robustness(run_dir, network, PREPROCESSING, packed, np.arange(6), LABELS, training_s=0)


def test_accuracy_falls_where_the_threshold_is_reached(tmp_path):
    panel = panel_of(tmp_path, Threshold())
    assert json.loads((tmp_path / ROBUSTNESS_FILE).read_text()) == panel
    assert [round(255 * point["epsilon"], 3) for point in panel["curve"]] == [0, 0.5, 1, 2, 4, 8, 16, 32]
    assert [point["accuracy"] * 6 for point in panel["curve"]] == pytest.approx([5, 5, 5, 3, 2, 1, 1, 1])
    assert panel["num_images"] == 6
    assert all(point["interval"][0] <= point["accuracy"] <= point["interval"][1] for point in panel["curve"])


def test_a_network_without_gradients_gets_a_notice(tmp_path):
    class Rounded(Threshold):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images.detach())

    panel = panel_of(tmp_path, Rounded())
    assert "curve" not in panel
    assert panel["notice"]


def test_a_folder_that_is_none_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"robustness\.json cannot be written"):
        panel_of(tmp_path / "file", Threshold())
