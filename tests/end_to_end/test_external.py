"""Networks of timm and torchvision through the whole way: train, evaluate, predict, resume, on real digits."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

FEW = ("--test-fraction", 0.1, "--validation-fraction", 0.8, "--image-size", 32, "--epochs", 2, "--no-checks")
"""180 images to train on, in six updates."""


@pytest.mark.parametrize("network", ["timm:test_resnet", "torchvision:shufflenet_v2_x0_5"])
def test_train_evaluate_predict_and_resume(network, striate_command, tmp_path):
    run = tmp_path / "run"
    trained = striate_command("train", "digits", "--network", network, *FEW, "--batch-size", 60, "--run", run, "--json")
    assert trained.code == 0, trained.err
    assert f"{network} at 1x32x32" in trained.err
    described = json.loads((run / "run.json").read_text())
    assert described["network"]["name"] == network
    assert described["network"]["config"] == {"name": network, "in_channels": 1, "num_classes": 10}
    assert ("timm" in described["versions"]) == network.startswith("timm:")
    assert network in (run / "report.html").read_text()
    losses = [json.loads(line)["train_loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses[1] < losses[0]

    model = run / "model.safetensors"
    evaluated = striate_command("evaluate", model, "--json").json
    assert evaluated["top1_accuracy"] == trained.json["evaluation"]["top1_accuracy"]
    digit = np.uint8(load_digits().images[0] * 255 / 16)
    Image.fromarray(digit).save(tmp_path / "digit.png")
    predicted = striate_command("predict", model, tmp_path / "digit.png", "--json")
    assert predicted.code == 0, predicted.err
    assert len(predicted.json["predictions"][0]["classes"]) == 5
    layers = striate_command("describe", model, "--json").json
    assert layers["num_params"] == described["network"]["num_params"]

    before = load_file(model)
    shutil.rmtree(run / "checkpoint")  # as if killed before the first one
    (run / "run.json").write_text(json.dumps(described | {"status": "running"}))
    model.unlink()
    resumed = striate_command("train", "--resume", run, "--json")
    assert resumed.code == 0, resumed.err
    after = load_file(model)
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)

    tuned = striate_command(
        "train", "digits", "--network", network, "--weights", model, *FEW, "--epochs", 1, "--batch-size", 60
    )
    assert tuned.code == 0, tuned.err
    assert (tmp_path / "runs" / f"digits-{network.replace(':', '-')}-1" / "report.html").is_file()


def test_what_cannot_be_is_one_line(striate_command, monkeypatch):
    def refused(*words):
        return striate_command(*words).refused()

    assert "did you mean timm:resnet18" in refused("describe", "timm:resnet81")
    assert "is no image classifier" in refused("train", "digits", "--network", "torchvision:fcn_resnet50")
    assert "striate fetches none from timm's hub" in refused(
        "train", "digits", "--network", "timm:test_resnet", "--weights", "imagenet"
    )
    assert "cannot take images of 4x4 pixels" in refused(
        "train", "digits", "--network", "torchvision:vgg11", "--image-size", 4
    )
    assert "did you mean torchvision:vgg1" in refused("evaluate", "torchvision:vgg1:weights.pth")
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "pip install 'striate[timm]'" in refused("train", "digits", "--network", "timm:anything")
