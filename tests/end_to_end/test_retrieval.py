"""Index and search from the command line on real digits and on photos: right neighbours, and told what has changed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import striate
from striate.data.preprocessing import Preprocessing
from striate.networks.catalogue import build_network
from striate.retrieval.layer import find_layer
from striate.tasks.model import Model, save_model


@pytest.fixture
def photos(tmp_path) -> Path:
    """Thirty real digits in folders by class."""
    digits = load_digits()
    for number in range(30):
        label = int(digits.target[number])
        folder = tmp_path / "photos" / ("even" if label % 2 == 0 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype(np.uint8)).resize((32, 32)).save(
            folder / f"{number:02}.png"
        )
    return tmp_path / "photos"


def make_model(path: Path, seed: int = 0) -> Path:
    network = build_network("lenet5", num_classes=10, in_channels=1, seed=seed)
    preprocessing = Preprocessing(channels=1, resize_size=32, crop_size=(32, 32), mean=(0.1,), std=(0.3,))
    names = tuple(map(str, range(10)))
    config = {"in_channels": 1, "num_classes": 10}
    model = Model(network, class_names=names, preprocessing=preprocessing, network_name="lenet5", network_config=config)
    save_model(model, path)
    return path


def test_index_and_search(photos, tmp_path, striate_command):
    model = make_model(tmp_path / "m.safetensors")
    made = striate_command("index", photos, "--model", model, "--out", tmp_path / "i", "--json").json
    assert made["num_images"] == 30
    assert made["num_features"] == 84
    assert made["layer"].startswith("the input of ")
    assert set(made["figures"]["recall_at"]) == {"1", "5", "10"}
    query = photos / "odd" / "01.png"
    page = tmp_path / "found.html"
    found = striate_command("search", tmp_path / "i", query, "--top", "4", "--html", page, "--json").json
    (one,) = found["queries"]
    assert one["hits"][0]["path"] == "odd/01.png"
    assert one["hits"][0]["value"] == pytest.approx(1)
    assert one["hits"][0]["label"] == "odd"
    assert len(one["hits"]) == 4
    values = [hit["value"] for hit in one["hits"]]
    assert values == sorted(values, reverse=True)
    assert page.read_text().count("data:image/jpeg") == 5
    words = striate_command("search", tmp_path / "i", photos / "even", "--top", "2").out
    assert "even/00.png" in words


def test_features_are_those_of_the_layer(photos, tmp_path):
    """As a plain hook of torch's on the whole forward pass sees them."""
    path = make_model(tmp_path / "m.safetensors")
    model = striate.load_model(path)
    names = [name for name, module in model.network.named_modules() if isinstance(module, torch.nn.Conv2d)]
    index = striate.index_images(photos, path, tmp_path / "i", layer=names[0], metric="l2")
    place = index.names.index("odd/01.png")
    pixels = np.asarray(Image.open(photos / "odd" / "01.png"))[None, None]
    seen = []
    model.network.get_submodule(names[0]).register_forward_hook(
        lambda *given: seen.append(given[2].mean(dim=(2, 3))[0])
    )
    with torch.no_grad():
        model.network(model.preprocessing.normalize(torch.from_numpy(pixels.copy())))
    assert index.features[place] == pytest.approx(seen[0].numpy(), abs=1e-5)
    with pytest.raises(striate.InputError, match="no layer called 'conv9'"):
        find_layer(model, "conv9")


def test_what_has_changed_is_told(photos, tmp_path, striate_command):
    model, index = make_model(tmp_path / "m.safetensors"), tmp_path / "i"
    striate_command("index", photos, "--model", model, "--out", index)
    assert striate_command("search", index, "--check", "--json").json["changes"] == {
        "changed": [],
        "gone": [],
        "new": [],
    }
    query = tmp_path / "query.png"
    shutil.copy(photos / "odd" / "01.png", query)
    shutil.copy(photos / "odd" / "03.png", photos / "odd" / "01.png")
    (photos / "odd" / "05.png").unlink()
    shutil.copy(photos / "odd" / "03.png", photos / "odd" / "new.png")
    done = striate_command("search", index, query, "--top", "30", "--check", "--json")
    assert done.code == 1
    assert done.json["changes"] == {"changed": ["odd/01.png"], "gone": ["odd/05.png"], "new": ["odd/new.png"]}
    states = {hit["path"]: hit["state"] for hit in done.json["queries"][0]["hits"]}
    assert (states["odd/01.png"], states["odd/05.png"], states["odd/03.png"]) == ("changed", "gone", "unchanged")
    again = striate_command("index", photos, "--model", model, "--out", index)
    assert "29 of 30 images were in" in again.err or "30 of 30 images were in" in again.err
    make_model(model, seed=1)
    assert "has changed since; make the index again" in striate_command("search", index, query).refused()
    model.unlink()
    assert "not there any more; say where it is with --model" in striate_command("search", index, query).refused()
    make_model(tmp_path / "moved.safetensors")
    assert striate_command("search", index, query, "--model", tmp_path / "moved.safetensors").code == 0


def test_bad_input_is_one_line(photos, tmp_path, striate_command):
    model = make_model(tmp_path / "m.safetensors")
    (tmp_path / "text").write_text("mine")
    cases = {
        ("index", photos, "--model", model, "--out", tmp_path / "text"): "is there already and no index",
        ("index", photos, "--model", model, "--out", tmp_path / "i", "--metric", "l1"): "metric must be cosine or l2",
        ("index", photos, "--model", model, "--out", tmp_path / "i", "--layer", "x"): "has no layer called 'x'",
        ("index", tmp_path / "none", "--model", model, "--out", tmp_path / "i"): "none",
        ("search", tmp_path / "text", photos): "is not a model file",
        ("search", model, photos): "is no index of images",
        ("search", model): "name images to search for",
    }
    for words, message in cases.items():
        assert message in striate_command(*words).refused()
    assert (tmp_path / "text").read_text() == "mine"


def test_a_broken_photo_costs_itself_alone(photos, tmp_path, striate_command):
    model = make_model(tmp_path / "m.safetensors")
    (photos / "odd" / "01.png").write_bytes(b"\x89PNG no more")
    done = striate_command("index", photos, "--model", model, "--out", tmp_path / "i", "--cells", "4", "--json")
    assert done.json["num_images"] == 29
    assert done.json["num_cells"] == 4
    assert "odd/01.png" in done.err
    done = striate_command("search", tmp_path / "i", photos / "odd", "--probes", "1", "--json")
    assert done.code == 1
    assert done.json["compared"] < 1
    assert [error["path"] for error in done.json["errors"]] == [str(photos / "odd" / "01.png")]


def test_a_folder_without_classes(photos, tmp_path):
    index = striate.index_images(photos / "odd", make_model(tmp_path / "m.safetensors"), tmp_path / "i")
    assert (index.labels == -1).all()
    assert len(index) == len(list((photos / "odd").iterdir()))


def test_flowers_by_a_real_network(shared_data, tmp_path):
    """By SqueezeNet trained on ImageNet: the nearest flower is mostly one of the same class, far above chance."""
    weights = shared_data / "squeezenet-v1.0-deep-compressed" / "compressed_SqueezeNet.net"
    index = striate.index_images(shared_data / "flowers" / "val", f"squeezenet1_0:{weights}", tmp_path / "i")
    figures = striate.retrieval_figures(index)
    assert figures.recall_at[1].value > 0.6 > 2 * figures.chance
