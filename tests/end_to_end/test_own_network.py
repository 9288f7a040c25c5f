"""A network that knows nothing of striate goes through every tool: train, stop, resume, evaluate, predict, export,
bench.
"""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import striate
from end_to_end import outsider
from striate.engines.measuring import Plan
from striate.errors import InputError, ModelFileError, RunError
from striate.training.observer import SilentObserver, StepInfo

CHOICES = striate.Choices(epochs=2, batch_size=128, seed=1)
QUICK = Plan(batch_sizes=(1,), repeats=1, batch_s=0.1, budget_s=20)
OPTIONS = {"run_checks": False, "measure": False}


class StopAt(SilentObserver):
    """Asks to stop, as Ctrl-C does, once so many updates are done."""

    def __init__(self, step: int) -> None:
        self.step, self.has_asked = step, False

    def on_step(self, info: StepInfo) -> None:
        if info.step >= self.step and not self.has_asked:
            self.has_asked = True
            os.kill(os.getpid(), signal.SIGINT)


def test_an_outsiders_network_goes_through_every_tool(tmp_path: Path, striate_command) -> None:
    assert "striate" not in Path(outsider.__file__).read_text(encoding="utf-8").replace("striate's", "")
    whole = striate.train("digits", CHOICES, network=outsider.build, run=tmp_path / "whole", **OPTIONS)
    stopped = striate.train(
        "digits", CHOICES, network=outsider.build, run=tmp_path / "parts", observer=StopAt(3), **OPTIONS
    )
    assert (whole.status, stopped.status) == ("finished", "interrupted")
    resumed = striate.resume(tmp_path / "parts", network=outsider.build)
    weights = [load_file(run.model_path) for run in (whole, resumed)]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0]), "bit for bit"

    described = json.loads((whole.path / "run.json").read_text())["network"]
    assert (described["name"], described["label"]) == ("external", "build")
    assert described["config"] == {"in_channels": 1, "num_classes": 10}

    model = striate.load_model(whole.path, network=outsider.build)
    assert model.preprocessing.crop_size == (28, 28)
    figures = striate.evaluate(model, "digits")
    assert figures.top1_accuracy == whole.evaluation.top1_accuracy > 0.3
    images = striate.open_source("digits").images
    pictures = [images.read(place) for place in range(8)]
    predicted = [each.classes[0].name for each in striate.predict(model, pictures).predictions]
    assert predicted == [each.classes[0].name for each in model.predict(pictures).predictions]

    description = striate.describe(model)
    assert {"conv1", ":relu_", "fc2"} <= {layer.name for layer in description.layers}
    exported = striate.export_model(model, "onnx", output=tmp_path / "net.onnx")
    assert exported.parity.passed
    assert striate.check_exported(model, exported.path).passed
    bench = striate.bench(model, engines=("torch", "onnxruntime"), plan=QUICK).to_json()
    assert bench["network"] == "external"
    rows = {(row["kind"]["name"], row["kind"]["precision"], row["kind"]["variant"]): row for row in bench["rows"]}
    assert rows[("torch", "float32", "plain")]["timings"]
    same = [row["agreement"] for key, row in rows.items() if key[:2] == ("onnxruntime", "float32") and row["agreement"]]
    assert same
    assert all(each["num_equal"] == each["num_images"] for each in same)
    assert "view size is not compatible" in rows[("torch", "float32", "channels_last")]["problem"], "told, and no error"

    for words in (
        ("evaluate", whole.path),
        ("predict", whole.path, whole.path / "mistakes"),
        ("export", whole.path, "--to", "onnx"),
    ):
        assert "load it from Python: striate.load_model(" in striate_command(*words).refused()
    assert "go on from Python: striate.resume(" in striate_command("train", "--resume", whole.path).refused()
    assert "network=build)" in whole.report_path.read_text(encoding="utf-8")


def test_a_calibrated_run_gets_its_report_anew(tmp_path: Path) -> None:
    from striate.recipes.calibrate import calibrate_file

    run = striate.train("digits", CHOICES, network=outsider.Net, run=tmp_path / "run", **OPTIONS)
    calibrated = calibrate_file(run.path, temperature=2.0, network=outsider.Net)
    assert calibrated.report == run.report_path
    assert striate.load_model(run.path, network=outsider.Net).temperature == 2.0


def test_a_module_given_ready_is_left_alone(tmp_path: Path) -> None:
    network = outsider.Net().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run = striate.train("digits", CHOICES, network=network, run=tmp_path / "run", **OPTIONS)
    model = striate.load_model(run.path, network=network)
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())
    assert not network.training
    assert not all(value.equal(before[name]) for name, value in model.network.state_dict().items())


def test_it_is_trained_from_the_weights_it_has(tmp_path: Path) -> None:
    trained = striate.train("digits", CHOICES, network=outsider.Net, run=tmp_path / "first", **OPTIONS)
    network = striate.load_model(trained.path, network=outsider.Net).network
    still = striate.Choices(epochs=1, learning_rate=1e-9, seed=1, freeze="base")
    again = striate.train("digits", still, network=network, head="fc2", run=tmp_path / "second", **OPTIONS)
    assert abs(again.evaluation.top1_accuracy - trained.evaluation.top1_accuracy) < 0.02


def test_a_run_without_a_checkpoint_begins_with_the_same_weights(tmp_path: Path) -> None:
    network = outsider.Net()
    stopped = striate.train("digits", CHOICES, network=network, run=tmp_path / "run", observer=StopAt(1), **OPTIONS)
    assert stopped.status == "interrupted"
    for file in (tmp_path / "run" / "checkpoint").iterdir():
        file.unlink()
    with pytest.raises(RunError, match="has no checkpoint yet and the network given does not begin with the weights"):
        striate.resume(tmp_path / "run", network=outsider.Net())
    assert striate.resume(tmp_path / "run", network=network).status == "finished"


def test_a_model_of_ones_own_is_one_file(tmp_path: Path) -> None:
    preparation = striate.Preprocessing(3, 12, (10, 10), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    names = ("ant", "bee", "cow")
    model = striate.Model(outsider.wide(3, 3), class_names=names, preprocessing=preparation, temperature=1.5)
    striate.save_model(model, tmp_path / "m.safetensors")
    again = striate.load_model(tmp_path / "m.safetensors", network=outsider.wide)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 10, 10, 3), dtype=np.uint8)
    assert np.array_equal(again.run(pixels), model.run(pixels))
    assert again.class_names == names

    with pytest.raises(ModelFileError, match=r"0\.weight has shape .* but the Sequential given needs"):
        striate.load_model(tmp_path / "m.safetensors", network=lambda num_classes: outsider.wide(num_classes, 1))
    with pytest.raises(ModelFileError, match=r"it lacks .* of the Net given"):
        striate.load_model(tmp_path / "m.safetensors", network=outsider.Net)
    with pytest.raises(InputError, match=r"load it from Python: striate\.load_model"):
        striate.load_model(tmp_path / "m.safetensors")
    bad = striate.Model(outsider.wide(2, 3), class_names=names, preprocessing=preparation)
    with pytest.raises(InputError, match=r"answers an image with \(1, 2\) but has 3 class names"):
        striate.save_model(bad, tmp_path / "bad.safetensors")
    assert not (tmp_path / "bad.safetensors").exists()


def test_a_single_output_tells_two_classes_apart(tmp_path: Path) -> None:
    preparation = striate.Preprocessing(1, 12, (10, 10), mean=(0.5,), std=(0.2,))
    model = striate.Model(outsider.wide(1, 1), class_names=("no", "yes"), preprocessing=preparation)
    striate.save_model(model, tmp_path / "m.safetensors")
    again = striate.load_model(tmp_path / "m.safetensors", network=outsider.wide)
    assert again.network_config == {"in_channels": 1, "num_classes": 1}


def test_a_network_by_name_needs_none(tmp_path: Path) -> None:
    preparation = striate.Preprocessing(1, 28, (28, 28), mean=(0.5,), std=(0.2,))
    names = tuple("0123456789")
    config = {"in_channels": 1, "num_classes": 10}
    model = striate.Model(
        striate.build_network("lenet5", seed=0), network_name="lenet5", network_config=config, class_names=names,
        preprocessing=preparation
    )  # fmt: skip
    striate.save_model(model, tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="holds lenet5, which is built by name; leave network out"):
        striate.load_model(tmp_path / "m.safetensors", network=outsider.Net)


@pytest.mark.parametrize(
    ("network", "choices", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 7)), {},
        "the network has 7 outputs but 10 are needed, one a class"),
        (outsider.segmenting, {}, r"answers N images with logits \(N, 10\) but for 2 this network gave \(2, 10, 26, "
            r"26\)"),
        (outsider.lazy, {}, "the network has lazy layers"),
        (outsider.broken, {}, "the network's builder failed for num_classes=10: no room for 10 classes"),
        (lambda: outsider.Net(), {}, "the network's builder must take num_classes"),
        (lambda num_classes: num_classes, {}, r"must return a torch.nn.Module but returned int"),
        (3, {}, "network must be a module or a function that builds one but is int"),
        (outsider.Net, {"image_size": 40}, "the network cannot take images of 1 channels of 40x40 pixels"),
        (outsider.Net, {"network": "lenet5"}, "network 'lenet5' was chosen, but a network is given as well"),
        (outsider.Net, {"weights": "imagenet"}, "weights 'imagenet' was chosen, but a network is given as well"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_in_one_line(network, choices, message, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as refused:
        striate.train("digits", striate.Choices(**choices), network=network, run=tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_head_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Net has no layer called 'fc3', which head names"):
        striate.train("digits", CHOICES, network=outsider.Net, head="fc3", run=tmp_path / "run")


def test_equal_weights_in_other_code_are_another_model() -> None:
    """The cache of exported copies must not take one for the other."""
    from striate.engines.bench_target import bench_target_of

    def other() -> type[nn.Module]:
        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc = nn.Linear(4, 2)
                nn.init.ones_(self.fc.weight)
                nn.init.zeros_(self.fc.bias)

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return self.fc(images.flatten(1)) * 3

        Scaled.__qualname__, Scaled.__module__ = "Net", "mynet"
        return Scaled

    def again() -> type[nn.Module]:
        made = other()
        made.forward = lambda self, images: self.fc(images.flatten(1)) * 4
        return made

    preparation = striate.Preprocessing(1, 2, (2, 2), mean=(0.5,), std=(0.2,))
    models = [
        striate.Model(made(), class_names=("a", "b"), preprocessing=preparation) for made in (other(), again(), other())
    ]
    keys = [bench_target_of(model).engine_cache.folder for model in models]
    assert keys[0] == keys[2] != keys[1]
