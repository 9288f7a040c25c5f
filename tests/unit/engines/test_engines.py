"""Every engine against the reference, measured, remembered, and never trusted when something has changed."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from export_cases import catalogue_model, noise
from striate.engines.bench_target import BenchTarget
from striate.engines.benching import bench
from striate.engines.engine import REFERENCE, EngineKind
from striate.engines.engine_cache import About, EngineCache, Measured
from striate.engines.identity import model_key
from striate.engines.measurement import Agreement, Row, Timing
from striate.engines.measuring import Plan
from striate.engines.predicting import EngineRequest, make_ready, open_engine, predict
from striate.errors import InputError
from striate.tasks.model import save_model
from striate.training.precision import has_fast_bf16

QUICK = Plan(batch_sizes=(1, 3), repeats=3, batch_s=0.05, budget_s=60)
NO_COMPILER = ["torch", "onnxruntime", "openvino"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model():
    """ResNet-20 for 32x32 with fresh weights, its norms unlike their first ones."""
    made = catalogue_model("resnet20_cifar", (32, 32), num_classes=4)
    for module in made.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)
    with torch.no_grad():
        made.network.get_parameter("fc.weight").mul_(0.1)  # else one class has it all
    return dataclasses.replace(made, network_config={"in_channels": 3, "num_classes": 4})


@pytest.mark.parametrize(
    "kind",
    [
        EngineKind("torch", "float32", "channels_last"),
        EngineKind("torch", "float32", "channels_first"),
        EngineKind("onnxruntime"),
        EngineKind("openvino", "float32", "latency"),
        EngineKind("openvino", "float32", "throughput"),
    ],
    ids=str,
)
def test_float32_engines_give_the_slow_ways_probabilities(model, kind, tmp_path):
    pixels = noise(5, 32, 32, 3)
    right = model.run(pixels)
    target = BenchTarget(model, EngineCache(tmp_path / "shelf"))
    engine = target.open(kind, 5)
    for num_images in (5, 1):
        answers = engine.run(pixels[:num_images])
        assert answers.dtype == np.float32
        np.testing.assert_allclose(answers, right[:num_images], atol=2e-5)
    assert next(model.network.parameters()).dtype == torch.float32


@pytest.mark.skipif(not has_fast_bf16(torch.device("cpu")), reason="this processor has no bfloat16 arithmetic")
@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_16_bit_engines_are_near(model, name, tmp_path):
    kind = EngineKind(name, "bfloat16", {"torch": "channels_last", "openvino": "latency"}[name])
    pixels = noise(5, 32, 32, 3)
    answers = BenchTarget(model, EngineCache(tmp_path / "shelf")).open(kind, 5).run(pixels)
    difference = np.abs(answers - model.run(pixels)).max()
    assert 0 < difference < 0.1


def test_a_model_in_training_mode_is_answered_in_evaluation_mode_and_given_back_so(model, tmp_path):
    pixels = noise(3, 32, 32, 3)
    right = model.run(pixels)
    model.network.train()
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    answers = (
        BenchTarget(model, EngineCache(tmp_path / "shelf"))
        .open(EngineKind("torch", "float32", "channels_last"), 3)
        .run(pixels)
    )
    np.testing.assert_allclose(answers, right, atol=2e-5)
    assert model.network.training
    assert all(torch.equal(before[key], value) for key, value in model.network.state_dict().items())


def test_bench_measures_remembers_and_predict_takes_the_choice(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    found = bench(path, engines=NO_COMPILER, plan=QUICK)
    assert found.rows[0].kind == REFERENCE
    by_kind = {str(row.kind): row for row in found.rows}
    for name in ("onnxruntime float32", "openvino float32 (latency)"):
        row = by_kind[name]
        assert [timing.batch_size for timing in row.timings] == [1, 3]
        assert row.agreement.num_equal == row.agreement.num_images == 32
        assert row.agreement.max_difference < 1e-4
    assert set(found.choices) == {1, 3}
    assert json.loads(json.dumps(found.to_json()))["auto"]["1"] == found.choices[1].to_json()
    told = []
    predictor = make_ready(path, EngineRequest(batch_size=3, num_images=None), log=told.append)
    assert predictor.engine.kind == found.choices[3]
    assert told == []
    np.testing.assert_allclose(predictor.engine.run(noise(3, 32, 32, 3)), model.run(noise(3, 32, 32, 3)), atol=1e-4)


def test_another_model_of_the_same_path_is_not_answered_for(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    key = model_key(path)
    bench(path, engines=["torch", "onnxruntime"], plan=QUICK)
    with torch.no_grad():
        next(model.network.parameters()).mul_(-1)
    save_model(model, path)
    assert model_key(path) != key
    predictor = make_ready(path, EngineRequest("onnxruntime", batch_size=2))
    np.testing.assert_allclose(predictor.engine.run(noise(2, 32, 32, 3)), model.run(noise(2, 32, 32, 3)), atol=2e-5)


def test_a_model_changed_in_memory_is_not_answered_by_its_old_copy(model):
    pixels = noise(2, 32, 32, 3)
    first = open_engine(model, "onnxruntime", batch_size=2).run(pixels)
    with torch.no_grad():
        next(model.network.parameters()).mul_(-1)
    second = open_engine(model, "onnxruntime", batch_size=2).run(pixels)
    np.testing.assert_allclose(second, model.run(pixels), atol=2e-5)
    assert np.abs(first - second).max() > 1e-3


def test_without_a_measurement_auto_goes_the_slow_way(model):
    predictor = make_ready(model, EngineRequest(num_images=3))
    assert predictor.engine.kind == REFERENCE
    image = noise(1, 40, 50, 3)[0]
    answered = predict(model, image, top=2).predictions[0].classes
    assert answered == model.predict(image, top=2).predictions[0].classes


def test_a_shelf_forgets_what_another_version_or_machine_measured(tmp_path, monkeypatch):
    engine_cache = EngineCache(tmp_path)
    row = Row(REFERENCE, 0.0, 0, (Timing(1, 2.0, 3),), Agreement(1, 1, 0.0, is_on_own_images=False))
    engine_cache.write_measured(Measured((row,), "photos"))
    assert engine_cache.read_measured() == Measured((row,), "photos")
    monkeypatch.setattr("striate.engines.hardware.version", lambda _: "99.0")
    assert engine_cache.read_measured() is None


def test_damaged_memories_are_told_and_ignored(tmp_path):
    engine_cache, told = EngineCache(tmp_path), []
    row = Row(REFERENCE, timings=(Timing(1, 2.0, 3),))
    engine_cache.write_measured(Measured((row,), "photos"))
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text()[:40])
    assert engine_cache.read_measured(log=told.append) is None
    assert "is damaged and was ignored" in told[0]


def test_a_copy_that_was_changed_is_not_used(model, tmp_path):
    engine_cache, told = EngineCache(tmp_path), []
    target = BenchTarget(model, engine_cache)
    target.export()
    assert engine_cache.read_about() == About("resnet20_cifar", model.preprocessing, model.task)
    engine_cache.onnx_path.write_bytes(engine_cache.onnx_path.read_bytes() + b" ")
    assert engine_cache.read_about(log=told.append) is None
    assert "model.onnx is not the copy that was written" in told[0]


def test_engines_that_fail_are_rows_with_their_reason(model, monkeypatch):
    def broken(*_):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr("striate.engines.bench_target.open_exported_engine", broken)
    found = bench(model, engines=["onnxruntime"], plan=QUICK)
    assert [row.problem for row in found.rows if row.kind.name == "onnxruntime"] == [
        "failed with RuntimeError: no such kernel"
    ]
    assert found.choices[1] == REFERENCE


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        (
            {"engine": "onnxruntime", "precision": "bfloat16"},
            "onnxruntime does not compute in bfloat16; choose float32 or",
        ),
        (
            {"engine": "torch", "precision": "int8"},
            "torch does not compute in int8 here; choose onnxruntime or openvino",
        ),
        (
            {"engine": "openvino", "precision": "near-ties"},
            "near-ties must be settled on your own images first; run striate",
        ),
        ({"precision": "int8"}, "nothing is remembered of int8 for this model here; run striate bench MODEL SOURCE"),
    ],
)
def test_what_cannot_be_had_is_refused(model, wanted, line):
    with pytest.raises(InputError, match=line):
        make_ready(model, EngineRequest(**wanted))


def test_wrong_wishes():
    for wanted, line in (
        ({"engine": "tpu"}, "engine must be one of"),
        ({"precision": "int4"}, "precision must be one of"),
        ({"batch_size": 0}, "batch_size must be at least 1 but is 0"),
    ):
        with pytest.raises(InputError, match=line):
            EngineRequest(**wanted)
    with pytest.raises(InputError, match="batch sizes must lie in"):
        dataclasses.replace(QUICK, batch_sizes=(0,))


def test_real_weights_on_real_photos_in_8_bits_are_shown_and_never_taken_unasked(shared_data):
    """The deep-compressed SqueezeNet on ImageNet photos: int8 answers some photos otherwise, float32 none."""
    folder = shared_data / "squeezenet-v1.0-deep-compressed"
    file = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    found = bench(
        f"squeezenet1_0:{file}",
        shared_data / "hymenoptera",
        engines=["onnxruntime"],
        plan=dataclasses.replace(QUICK, batch_sizes=(4,)),
        use_int8=True,
        most_images=24,
    )
    rows = {row.kind: row for row in found.rows}
    exact, int8 = rows[EngineKind("onnxruntime")], rows[EngineKind("onnxruntime", "int8")]
    assert exact.agreement.num_equal == exact.agreement.num_images == 24
    assert exact.agreement.is_on_own_images
    assert int8.problem is None
    assert int8.agreement.max_difference > 1e-3
    assert found.choices[4].precision == "float32"
