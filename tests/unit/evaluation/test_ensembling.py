"""An ensemble's probabilities are the mean of its members', from memory and from its one file."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from striate.cli.app import app
from striate.data.preprocessing import Preprocessing
from striate.errors import InputError, ModelFileError
from striate.evaluation.ensembling import make_ensemble
from striate.networks.catalogue import build_network, entry_for
from striate.networks.ensemble import EnsembleConfig
from striate.tasks.model import Model, load_model, save_model

NAMES = ("a", "b", "c")


def member(name, seed, *, mean=0.5, std=0.25, temperature=1.0):
    network = build_network(name, num_classes=3, in_channels=1, seed=seed)
    entry = entry_for(name)
    config = dataclasses.asdict(dataclasses.replace(entry.config, num_classes=3, in_channels=1))
    with torch.no_grad():  # fresh heads hardly tell images apart
        list(network.parameters())[-2].mul_(20)
    return Model(
        network.eval(),
        class_names=NAMES,
        preprocessing=Preprocessing(1, 32, (32, 32), (mean,), (std,)),
        network_name=name,
        network_config=config,
        temperature=temperature,
    )


@pytest.fixture
def members():
    return [
        member("lenet5", 0),
        member("lenet5", 1, mean=0.1, std=0.3, temperature=2.0),
        member("resnet20_cifar", 2, mean=0.3, std=1.0),
    ]


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 1, 32, 32), dtype=np.uint8))


def test_probabilities_are_the_members_mean(members, images, tmp_path):
    joined = make_ensemble(members)
    expected = torch.stack([each.probabilities(images) for each in members]).mean(dim=0)
    assert expected.std(dim=0).max() > 0.01
    assert joined.probabilities(images) == pytest.approx(expected.numpy(), abs=1e-5)
    save_model(joined, tmp_path / "joined.safetensors")
    again = load_model(tmp_path / "joined.safetensors")
    assert torch.equal(again.probabilities(images), joined.probabilities(images))
    assert again.network_name == "ensemble:lenet5"
    assert sum(param.numel() for param in again.network.parameters()) == sum(
        param.numel() for each in members for param in each.network.parameters()
    )


def test_members_stay_as_they_were(members, images):
    before = [each.probabilities(images) for each in members]
    joined = make_ensemble(members)
    with torch.no_grad():
        for param in joined.network.parameters():
            param.zero_()
    assert all(torch.equal(each.probabilities(images), old) for each, old in zip(members, before, strict=True))


def test_what_does_not_fit_together(members):
    first = members[0]
    other_names = dataclasses.replace(first, class_names=("a", "c", "b"))
    larger = dataclasses.replace(first, preprocessing=Preprocessing(1, 40, (32, 32), (0.5,), (0.25,)))
    with pytest.raises(InputError, match="two models or more"):
        make_ensemble([first])
    with pytest.raises(InputError, match="names other classes"):
        make_ensemble([first, other_names])
    with pytest.raises(InputError, match="resized to 40"):
        make_ensemble([first, larger])
    with pytest.raises(InputError, match="is an ensemble itself"):
        make_ensemble([first, make_ensemble(members)])
    with pytest.raises(InputError, match="given from Python"):
        make_ensemble([first, dataclasses.replace(first, network_name="external")])


def test_damaged_settings_are_refused(members, tmp_path):
    with pytest.raises(InputError, match="at most 64 members"):
        EnsembleConfig(members=(("lenet5", "{}"),) * 65)
    with pytest.raises(InputError, match="cannot be a member"):
        EnsembleConfig(members=(("ensemble:lenet5", "{}"),))
    for text, words in (
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ('{"width": 1e9}', "numbers up to"),
        ('{"a": 1}', "configured"),
    ):
        config = EnsembleConfig(in_channels=1, num_classes=3, members=(("lenet5", text),))
        with pytest.raises(InputError, match=words):
            entry_for("ensemble:lenet5").build(config)
    path = tmp_path / "joined.safetensors"
    save_model(make_ensemble(members), path)
    text = path.read_bytes().replace(b"resnet20_cifar", b"resnet99_cifar")
    (tmp_path / "foreign.safetensors").write_bytes(text)
    with pytest.raises(ModelFileError, match="resnet99_cifar"):
        load_model(tmp_path / "foreign.safetensors")


def test_command_tells_gain_and_cost(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    from striate.baselines.baseline import baseline
    from striate.baselines.linear_model import linear_model

    found = baseline("digits", kinds=("linear_svm", "softmax"))
    for kind in found.models:
        save_model(linear_model(found, kind), tmp_path / f"{kind}.safetensors")
    out = tmp_path / "joined.safetensors"
    words = ["ensemble", *(str(tmp_path / f"{kind}.safetensors") for kind in found.models), "--out", str(out)]
    document = json.loads(CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False).stdout)
    assert document["cost"]["parameters"] == 2
    assert document["gain"]["comparison"]["num_images"] == 180
    assert document["gain"]["accuracy"] > 0.9
    told = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "over the best member" in told
    evaluated = CliRunner().invoke(app, ["evaluate", str(out), "--json"], catch_exceptions=False)
    assert json.loads(evaluated.stdout)["top1_accuracy"] == document["gain"]["accuracy"], "on the members' own splits"
