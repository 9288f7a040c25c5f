"""The report's look inside: written for any network, left out with a notice where it cannot be."""

import json

import numpy as np
import torch
from torch import nn

from explanation_cases import Functional
from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.explanation.run_panel import write_inside

PREPROCESSING = Preprocessing(3, 16, (16, 16), (0.5,) * 3, (0.25,) * 3)


def panel_of(network, tmp_path, num_images=12):
    images = list(np.random.default_rng(0).integers(0, 256, (num_images, 16, 16, 3), np.uint8))
    packed = PackedImages.from_images(images)
    with torch.no_grad():
        network.eval()
        inputs = PREPROCESSING.normalize(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))
        labels = network(inputs).argmax(1).numpy().astype(np.int64)
    labels[3] = (labels[3] + 1) % 5
    names = ("a", "b", "<b>c</b>", "d", "e")
    panel = write_inside(
        tmp_path,
        network,
        PREPROCESSING,
        packed,
        np.arange(num_images),
        labels,
        names,
        [3],
        lambda index: f"image {index}",
    )
    return panel, labels, names


def test_panel_of_a_convolutional_network(tmp_path):
    network = Functional()
    panel, labels, names = panel_of(network, tmp_path)
    assert json.loads((tmp_path / "inside.json").read_text()) == panel
    assert panel["notices"] == []
    assert (panel["looked_at"]["method"], panel["looked_at"]["layer"]) == ("grad_cam", "second")
    wrong, *typical = panel["looked_at"]["images"]
    assert (wrong["name"], wrong["is_mistake"], wrong["label"]) == ("image 3", True, names[labels[3]])
    assert wrong["predicted"] != wrong["label"]
    assert all(each["label"] == each["predicted"] and not each["is_mistake"] for each in typical)
    assert len({each["label"] for each in typical}) == len(typical) >= 1
    for each in (wrong["answered"], wrong["right"], panel["filters"]["picture"]):
        assert (tmp_path / each).read_bytes().startswith(b"\x89PNG")
    assert [row["layer"] for row in panel["units"]["layers"]] == [":relu", ":relu.2"]
    assert [check["method"] for check in panel["sanity"]] == ["grad_cam", "saliency"]


def test_panel_of_a_network_without_convolutions(tmp_path):
    panel, _, _ = panel_of(nn.Sequential(nn.Flatten(), nn.Linear(768, 8), nn.ReLU(), nn.Linear(8, 5)), tmp_path)
    assert panel["looked_at"]["method"] == "saliency"
    assert panel["notices"] == ["filters: Sequential has no convolution, so it has no filters to show"]
    assert panel["units"]["layers"][0]["num_units"] == 8
