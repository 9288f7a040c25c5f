"""Label errors planted in a folder of digits are found; nothing is changed."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from typer.testing import CliRunner

from striate.cli.app import app
from striate.data.packed import PackedImages
from striate.data.preprocessing import Preprocessing
from striate.errors import DataError, InputError
from striate.evaluation.frozen_features import frozen_features, last_weighted_layer
from striate.evaluation.label_errors import find_label_errors
from striate.reports.label_errors_page import label_errors_page, label_errors_table
from striate.tasks.model import Model, save_model

GREY = Preprocessing(channels=1, resize_size=8, crop_size=(8, 8), mean=(0.0,), std=(1.0,))


def write_digits(folder, num_images, flipped):
    digits = load_digits()
    for index in range(num_images):
        label = (digits.target[index] + (3 if index in flipped else 0)) % 10
        (folder / f"{label}").mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[index] * 15.9).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{label}" / f"{index:03d}.png")


@pytest.fixture
def digits(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    flipped = set(range(7, 300, 20))
    write_digits(tmp_path / "digits", 300, flipped)
    return tmp_path / "digits", {f"{index:03d}.png" for index in flipped}


def test_planted_errors_come_first_and_are_named_rightly(digits):
    folder, flipped = digits
    found = find_label_errors(folder, num_thumbnails=3)
    first = found.issues[: len(flipped)]
    hits = [issue for issue in first if issue.path.rsplit("/", 1)[-1] in flipped]
    assert len(hits) >= 0.8 * len(flipped)
    suggested = [(int(issue.given) - int(issue.suggested)) % 10 == 3 for issue in hits]
    assert np.mean(suggested) >= 0.8
    assert 0.5 * len(flipped) <= found.num_estimated <= 3 * len(flipped)
    assert len(found.thumbnails) == 3
    confidences = [issue.self_confidence for issue in found.issues]
    assert confidences == sorted(confidences)


def test_command_page_and_table_say_the_same(digits, tmp_path):
    folder, _ = digits
    before = sorted(path.name for path in folder.rglob("*"))
    files = {"--html": tmp_path / "page.html", "--csv": tmp_path / "table.csv"}
    words = [str(word) for pair in files.items() for word in pair]
    done = CliRunner().invoke(app, ["errors", str(folder), *words, "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    rows = list(csv.DictReader(io.StringIO(files["--csv"].read_text())))
    assert [row["path"] for row in rows] == [issue["path"] for issue in document["issues"]]
    assert {row["label"] for row in rows} == {""}
    page = files["--html"].read_text()
    assert page.count("data:image/jpeg") == len(rows)
    assert rows[0]["path"] in page
    assert "http" not in page
    assert before == sorted(path.name for path in folder.rglob("*"))
    assert "digits" in repr(find_label_errors(folder))


def test_names_from_strangers_are_escaped(digits):
    folder, _ = digits
    (folder / "<b>=x").mkdir()
    for path in list((folder / "0").iterdir()):
        path.rename(folder / "<b>=x" / path.name)
    found = find_label_errors(folder, num_thumbnails=50)
    assert "<b>" not in label_errors_page(found)
    assert "&lt;b&gt;=x" in label_errors_page(found)
    assert label_errors_table(found).startswith("path,label,given,suggested")


def test_a_class_with_one_image_is_left_out_and_told(digits):
    folder, _ = digits
    (folder / "alone").mkdir()
    Image.new("L", (8, 8), 90).save(folder / "alone" / "a.png")
    found = find_label_errors(folder)
    assert found.num_images == 300
    assert found.notices == (
        "left out 1 classes with a single image, which nothing can be learnt of from the others: alone",
    )


def test_what_cannot_be_done_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b"):
        (tmp_path / "few" / name).mkdir(parents=True)
        Image.new("L", (8, 8), 30 if name == "a" else 60).save(tmp_path / "few" / name / "x.png")
    with pytest.raises(DataError, match="0 classes with two different images or more"):
        find_label_errors(tmp_path / "few")
    with pytest.raises(InputError, match="name a SOURCE"):
        find_label_errors()


class Small(nn.Module):
    """A 1x1 convolution as classifier, then the mean over places."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2)
        self.head = nn.Conv2d(4, 10, 1)

    def forward(self, images):
        return self.head(self.stem(images).relu()).mean(dim=(2, 3))


def test_frozen_features_are_the_heads_input_averaged_over_places(seed):
    network = Small().train()
    model = Model(network, class_names=tuple("0123456789"), preprocessing=GREY)
    images = np.random.default_rng(seed).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    packed = PackedImages.from_images(list(images))
    found = frozen_features(model, packed, np.array([4, 0, 2]), batch_size=2)
    inputs = torch.from_numpy(images[[4, 0, 2]]).permute(0, 3, 1, 2).float() / 255
    expected = network.stem(inputs).relu().mean(dim=(2, 3)).detach().numpy()
    assert np.abs(found - expected).max() < 1e-5
    assert network.training
    assert not network.head._forward_pre_hooks
    with pytest.raises(InputError, match="no layer with weights"):
        last_weighted_layer(nn.Sequential(nn.ReLU()), inputs)


def test_a_network_from_the_catalogue_serves(digits, tmp_path):
    from striate.networks.catalogue import build_network, entry_for

    folder, _ = digits
    import dataclasses

    config = dataclasses.replace(entry_for("lenet5").config, num_classes=10, in_channels=1)
    side = entry_for("lenet5").input_size[1]
    preprocessing = dataclasses.replace(GREY, resize_size=side, crop_size=(side, side))
    model = Model(
        build_network("lenet5", num_classes=10, in_channels=1, seed=0), class_names=tuple("0123456789"),
        preprocessing=preprocessing, network_name="lenet5", network_config=dataclasses.asdict(config),
    )  # fmt: skip
    save_model(model, tmp_path / "model.safetensors")
    words = ["errors", str(folder), "--weights", str(tmp_path / "model.safetensors"), "--device", "cpu", "--json"]
    document = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    assert document["features"] == "lenet5"
    assert document["accuracy"] > 0.5
