"""Engines on a CUDA device: near the reference there and on the CPU, measured, remembered for that device, and
taken.
"""

import dataclasses

import numpy as np
import pytest
import torch

from export_cases import catalogue_model, noise
from striate.engines.bench_target import bench_target_of
from striate.engines.benching import bench
from striate.engines.engine import REFERENCE, EngineKind
from striate.engines.measuring import Plan
from striate.engines.predicting import EngineRequest, make_ready
from striate.errors import InputError
from striate.tasks.model import save_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")

QUICK = Plan(batch_sizes=(1, 4), repeats=3, batch_s=0.05, budget_s=30)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model():
    made = catalogue_model("resnet20_cifar", (32, 32), num_classes=4)
    with torch.no_grad():
        made.network.get_parameter("fc.weight").mul_(0.1)  # else one class has it all
    return dataclasses.replace(made, network_config={"in_channels": 3, "num_classes": 4})


def test_the_slow_way_answers_as_on_the_processor(model):
    pixels = noise(16, 32, 32, 3)
    right = model.run(pixels)
    np.testing.assert_allclose(model.to("cuda").run(pixels), right, atol=2e-5)


@pytest.mark.parametrize("variant", ["graph", "channels_last", "channels_first"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_engines_are_near_the_slow_way(model, precision, variant):
    pixels = noise(7, 32, 32, 3)
    right = model.run(pixels)
    engine = bench_target_of(model.to("cuda")).open(EngineKind("torch", precision, variant), 4)
    for size in (4, 1, 7, 2, 3, 5, 4):  # more sizes than graphs are kept, and one again
        answers = engine.run(pixels[:size])
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, right[:size], atol=2e-5 if precision == "float32" else 0.1)
    again = engine.run(pixels[3:])
    np.testing.assert_allclose(again, right[3:], atol=2e-5 if precision == "float32" else 0.1)


def test_engines_are_measured_there_remembered_and_taken(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    found = bench(path, plan=QUICK, engines=["torch"], device="cuda")
    problems = [row.problem for row in found.rows if row.problem and row.kind.precision != "near-ties"]
    assert problems == []
    assert found.gpu == torch.cuda.get_device_name()
    assert found.choices[4].precision == "float32"  # 16 bits need images of one's own
    predictor = make_ready(path, EngineRequest(batch_size=4, device="cuda"))
    assert predictor.engine.kind == found.choices[4]
    on_processor = make_ready(path, EngineRequest(num_images=4, batch_size=4, device="cpu"))
    assert on_processor.engine.kind == REFERENCE  # what was measured on the GPU holds there only
    pixels = noise(4, 32, 32, 3)
    np.testing.assert_allclose(predictor.engine.run(pixels), on_processor.engine.run(pixels), atol=2e-5)


def test_compiled_code_answers_alike(model):
    pixels = noise(4, 32, 32, 3)
    right = model.run(pixels)
    engine = bench_target_of(model.to("cuda")).open(EngineKind("compile", "float32"), 4)
    np.testing.assert_allclose(engine.run(pixels), right, atol=2e-5)
    np.testing.assert_allclose(engine.run(pixels[:3]), right[:3], atol=2e-5)


def test_engines_of_the_processor_are_refused(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    with pytest.raises(InputError, match="the engine onnxruntime does not compute on cuda"):
        make_ready(path, EngineRequest("onnxruntime", device="cuda"))
    with pytest.raises(InputError, match="on a CUDA device torch and compile are measured"):
        bench(path, engines=["onnxruntime"], device="cuda")
