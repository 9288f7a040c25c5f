"""Measuring is bounded, fair to engines whose cost depends on the image, and done unasked only where it pays."""

import dataclasses
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from striate.data.opening import Access
from striate.data.preprocessing import Preprocessing
from striate.engines import measuring, predicting
from striate.engines.engine import REFERENCE, Engine, EngineKind
from striate.engines.measuring import Plan, agreement, measure, time_batches
from striate.engines.predicting import EngineRequest, make_ready
from striate.engines.samples import BUILT_IN, Samples, built_in_samples, own_samples
from striate.engines.torch_engines import open_torch
from striate.errors import DataError, InputError
from striate.networks.catalogue import CATALOGUE, build_network
from striate.tasks.classification.task import Classification
from striate.tasks.model import Model

ONNX = EngineKind("onnxruntime", "float32")
NEAR_TIES = EngineKind("openvino", "near-ties", "latency")
QUICK = Plan(batch_sizes=(1, 4), repeats=2, batch_s=0.01)


@pytest.fixture(autouse=True)
def brief(monkeypatch, tmp_path):
    monkeypatch.setattr(measuring, "WARM_UP_S", 0.0)
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model() -> Model:
    entry = CATALOGUE["lenet5"]
    preprocessing = Preprocessing(1, 32, (32, 32), (0.3,), (0.4,))
    names = tuple(str(digit) for digit in range(10))
    return Model(
        build_network("lenet5", seed=0),
        network_name="lenet5",
        network_config=asdict(entry.config),
        class_names=names,
        preprocessing=preprocessing,
    )


def brightness(pixels: np.ndarray) -> np.ndarray:
    """Two classes, dark and bright, by the one pixel of each image."""
    bright = pixels.reshape(len(pixels), -1).mean(axis=1) / 255
    return np.stack([1 - bright, bright], axis=1).astype(np.float32)


def samples(num_images: int) -> Samples:
    values = np.linspace(0, 255, num_images).astype(np.uint8)
    return Samples(values.reshape(-1, 1, 1, 1), "hand-made", is_own=True)


def opener(runs: dict[EngineKind, object]):
    return lambda kind, _: Engine(kind, runs[kind])


def test_a_row_for_each_kind_and_failures_have_reasons():
    def failing(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("no such instruction")

    rows = measure((REFERENCE, ONNX), opener({REFERENCE: brightness, ONNX: failing}), samples(8), QUICK)
    assert [row.kind for row in rows] == [REFERENCE, ONNX]
    assert (rows[0].agreement.num_equal, rows[0].agreement.max_difference) == (8, 0.0)
    assert [timing.batch_size for timing in rows[0].timings] == [1, 4]
    assert rows[1].problem == "failed with RuntimeError: no such instruction"


def test_the_slow_way_answers_once_what_the_others_are_held_to():
    sizes: dict[EngineKind, list[int]] = {REFERENCE: [], ONNX: []}

    def counted(kind: EngineKind):
        def run(pixels: np.ndarray) -> np.ndarray:
            sizes[kind].append(len(pixels))
            return brightness(pixels)

        return run

    runs = {kind: counted(kind) for kind in sizes}
    rows = measure((REFERENCE, ONNX), opener(runs), samples(64), QUICK)
    assert [found.count(32) for found in sizes.values()] == [2, 2]  # QUICK times batches of 1 and 4
    assert rows[0].agreement == rows[1].agreement


def slow_clock(monkeypatch: pytest.MonkeyPatch, image_s: dict[EngineKind, float]):
    """Engines that take so long an image, by a clock of their own; how many images each answered is counted."""
    clock, counts = [0.0], dict.fromkeys(image_s, 0)

    def engine(kind: EngineKind):
        def run(pixels: np.ndarray) -> np.ndarray:
            clock[0] += image_s[kind] * len(pixels)
            counts[kind] += len(pixels)
            return brightness(pixels)

        return run

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock[0])
    return {kind: engine(kind) for kind in image_s}, counts


@pytest.mark.parametrize("num_images", [500, 501])
def test_a_slow_network_is_compared_on_fewer_images_and_leaves_time_for_the_engines(monkeypatch, num_images):
    bfloat16, ties = (dataclasses.replace(NEAR_TIES, precision=name) for name in ("bfloat16", "near-ties"))
    runs, counts = slow_clock(monkeypatch, {REFERENCE: 0.2, ONNX: 0.1, bfloat16: 0.05})
    plan = Plan(batch_sizes=(1, 8), budget_s=90.0)
    rows = measure((REFERENCE, ONNX, bfloat16, ties), opener(runs), samples(num_images), plan)
    slow, exact, quick, near = rows
    assert slow.agreement.num_images == 192  # 0.4 * 90 s, and what the last chunk took
    assert exact.agreement.num_images == exact.agreement.num_equal == 64
    assert counts[ONNX] <= 64 + 4 * 16
    assert quick.problem == "skipped, as it needs 200 answers of the reference; give more time with --budget"
    assert near.problem == "skipped, as it needs 400 answers of the reference; give more time with --budget"
    rows = measure((REFERENCE, bfloat16), opener(runs), samples(num_images), dataclasses.replace(plan, budget_s=900.0))
    assert rows[1].agreement.num_images == num_images


@pytest.mark.parametrize(
    ("image_s", "num_images", "is_own", "num_compared", "told"),
    [
        (0.2, 500, True, 480, 1),  # 400 and a last batch of 32 take 86 s, a tenth more is 95: 15 batches
        (0.4, 500, True, 256, 1),  # 400 would take longer than 300 s, 200 would not
        (0.9, 500, True, 64, 0),  # not even 200 in time: nothing is spent on it
        (0.05, 500, True, 500, 0),  # 90 s are enough
        (0.2, 300, True, 256, 1),  # enough for one of the two
        (0.2, 100, True, 100, 0),
        (0.2, 500, False, 192, 0),  # built-in photos never test 16 bits
    ],
)
def test_a_slow_network_gets_the_time_to_test_16_bits(monkeypatch, image_s, num_images, is_own, num_compared, told):
    bfloat16, ties = (dataclasses.replace(NEAR_TIES, precision=name) for name in ("bfloat16", "near-ties"))
    runs, _ = slow_clock(monkeypatch, {REFERENCE: image_s, bfloat16: 0.01})
    lines: list[str] = []
    plan = Plan(batch_sizes=(1,), repeats=1, longest_s=300.0)
    given = dataclasses.replace(samples(num_images), is_own=is_own)
    kinds = (REFERENCE, bfloat16, ties)
    rows = measure(kinds, opener(runs), given, plan, why_not=lambda _: None, log=lines.append)
    assert rows[0].agreement.num_images == num_compared
    assert sum("instead of 90, so that 16 bits can be tested" in line for line in lines) == told
    assert sum("comparing on" in line for line in lines) == (num_compared < num_images)


def test_without_engines_in_16_bits_a_slow_network_gets_no_more_time(monkeypatch):
    bfloat16 = dataclasses.replace(NEAR_TIES, precision="bfloat16")
    runs, _ = slow_clock(monkeypatch, {REFERENCE: 0.2, bfloat16: 0.01})
    plan = Plan(batch_sizes=(1,), repeats=1, longest_s=300.0)
    rows = measure(
        (REFERENCE, bfloat16), opener(runs), samples(500), plan, why_not=lambda kind: "none here" * (kind != REFERENCE)
    )
    assert rows[0].agreement.num_images == 192


@pytest.mark.parametrize("num_images", [200, 201])
def test_a_part_of_the_images_is_spread_and_keeps_those_that_calibrate_apart_from_those_held_out(num_images):
    values = np.arange(num_images, dtype=np.uint8).reshape(-1, 1, 1, 1)
    places, answers = measuring._answers(brightness, values, 0.0)
    assert len(places) == measuring.FEWEST_IMAGES
    assert np.array_equal(answers, brightness(values[places]))
    assert (places[measuring.CALIBRATING] % 2 == 0).all()
    assert (places[measuring.HELD_OUT] % 2 == 1).all()
    assert all(np.histogram(places, 4, (0, num_images))[0] >= 8)
    places, answers = measuring._answers(brightness, values, 100.0)
    assert np.array_equal(places, np.arange(num_images))
    assert np.array_equal(answers, brightness(values))


def test_accuracies_are_told_of_equal_images_only(monkeypatch):
    given = samples(500)
    known = dataclasses.replace(given, labels=(given.pixels.ravel() > 127).astype(np.int64))
    runs, _ = slow_clock(monkeypatch, {REFERENCE: 0.01, ONNX: 0.2})
    rows = measure((REFERENCE, ONNX), opener(runs), known, Plan(batch_sizes=(1,)))
    assert [row.agreement.num_images for row in rows] == [500, 64]
    assert rows[0].accuracy == 1.0
    assert rows[1].accuracy is None


def test_large_batches_of_a_slow_network_are_timed_once(monkeypatch):
    runs, counts = slow_clock(monkeypatch, {ONNX: 0.2})
    timing = time_batches(runs[ONNX], samples(32).pixels, 32, Plan())
    assert (timing.num_repeats, timing.milliseconds) == (1, pytest.approx(6400.0))
    assert counts[ONNX] == 64  # once to warm up


def test_after_the_budget_nothing_new_is_begun():
    plan = dataclasses.replace(QUICK, budget_s=1e-9)
    rows = measure((REFERENCE, ONNX), opener({REFERENCE: brightness, ONNX: brightness}), samples(8), plan)
    assert rows[0].problem is None  # the reference is always measured
    assert "too little was left of 0 s; give more with --budget" in rows[1].problem


def test_a_compilation_that_would_not_fit_is_not_begun():
    compiled = EngineKind("compile", "float32")
    plan = dataclasses.replace(QUICK, budget_s=5.0)
    rows = measure((REFERENCE, compiled), opener({REFERENCE: brightness}), samples(8), plan)
    assert "--budget" in rows[1].problem


def test_near_ties_are_settled_on_half_of_the_images_and_tested_on_the_others():
    """The quick engine's logits are off by 0.2 against each other, on every image: twice that is the gap."""
    computed_again = []

    def too_bright(pixels: np.ndarray) -> np.ndarray:
        shifted = brightness(pixels) * np.exp(np.array([-0.1, 0.1], np.float32))
        return shifted / shifted.sum(axis=1, keepdims=True)

    def watched(pixels: np.ndarray) -> np.ndarray:
        computed_again.extend(pixels.ravel().tolist())
        return brightness(pixels)

    runs = {
        REFERENCE: brightness,
        dataclasses.replace(NEAR_TIES, precision="bfloat16"): too_bright,
        dataclasses.replace(NEAR_TIES, precision="float32"): watched,
    }
    row = measure((REFERENCE, NEAR_TIES), opener(runs), samples(256), QUICK)[1]
    assert row.problem is None
    assert row.agreement.num_images == row.agreement.num_equal == 128
    assert row.gap == pytest.approx(2 * 0.2, rel=1e-3)
    assert 0.04 < row.agreement.max_difference < 0.05  # a quarter of the shift at most, where classes are further apart
    assert computed_again


@pytest.mark.parametrize(("use_mean", "milliseconds"), [(False, 1000.0), (True, 3250.0)])
def test_times_are_medians_or_means(monkeypatch, use_mean, milliseconds):
    """The first batch warms up and does not count; then 1, 1, 1 and 10 seconds."""
    durations, clock = iter([7.0, 1.0, 1.0, 1.0, 10.0]), [0.0]

    def run(pixels: np.ndarray) -> np.ndarray:
        clock[0] += next(durations)
        return pixels

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock[0])
    plan = Plan(batch_sizes=(1,), repeats=4, batch_s=100.0)
    found = time_batches(run, samples(4).pixels, 1, plan, use_mean=use_mean)
    assert found.num_repeats == 4
    assert found.milliseconds == pytest.approx(milliseconds)


def test_answers_that_are_no_numbers_are_no_agreement():
    with pytest.raises(InputError, match="answers NaN"):
        agreement(np.array([[np.nan, 0.5]]), np.array([[0.5, 0.5]]), Classification(("a", "b")), is_own=False)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"batch_sizes": ()}, r"batch sizes must lie in \[1, 4096\] but are \(\)"),
        ({"batch_sizes": (0, 8)}, r"batch sizes must lie in \[1, 4096\] but are \(0, 8\)"),
        ({"repeats": 0}, r"repeats and budget must be above 0 but are 0 and 90\.0"),
    ],
)
def test_plans_that_measure_nothing(changes, line):
    with pytest.raises(InputError, match=line):
        Plan(**changes)


def test_built_in_photos_are_nearly_all_different():
    found = built_in_samples(Preprocessing(3, 64, (64, 64), (0.0,) * 3, (1.0,) * 3), Classification(("a", "b")))
    assert found.description == BUILT_IN
    assert found.pixels.shape == (32, 64, 64, 3)
    assert len({image.tobytes() for image in found.pixels}) >= 28  # a whole photo has only itself and its mirror image
    with pytest.raises(InputError, match="no built-in photos with 4 channels"):
        built_in_samples(Preprocessing(4, 64, (64, 64), (0.0,) * 4, (1.0,) * 4), Classification(("a", "b")))


def test_images_of_a_source_carry_labels_where_the_model_has_them(model, tmp_path):
    found = own_samples("digits", model.preprocessing, model.task, most=20)
    assert found.pixels.shape == (20, 32, 32, 1)
    assert found.labels.shape == (20,)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        Image.new("L", (40, 40)).save(tmp_path / name / "0.png")
    told = []
    assert own_samples(tmp_path, model.preprocessing, model.task, most=5, access=Access(log=told.append)).labels is None
    assert "no accuracy, as the labels are not the model's" in told[0]


def test_any_folder_of_images_serves_and_an_empty_one_is_refused(model, tmp_path):
    with pytest.raises(DataError, match="holds no image that can be read; name another SOURCE"):
        own_samples(tmp_path, model.preprocessing, model.task, most=5)
    for number in range(3):
        Image.new("L", (40, 40), 80 * number).save(tmp_path / f"{number}.png")
    (tmp_path / "torn.png").write_bytes(b"no picture")
    found = own_samples(tmp_path, model.preprocessing, model.task, most=5)
    assert found.pixels[:, 0, 0, 0].tolist() == [0, 80, 160]
    assert found.is_own


def test_a_long_prediction_measures_first(model, monkeypatch):
    monkeypatch.setattr(predicting, "WORTH_MEASURING_S", 0.0)
    told = []
    predictor = make_ready(model, EngineRequest(num_images=4096, batch_size=8, device="cpu"), log=told.append)
    assert any("measuring the engines first" in line for line in told)
    assert predictor.engine.kind.precision == "float32"
    assert "when measured" in predictor.line
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1), np.uint8)
    assert np.abs(predictor.engine.run(pixels) - model.run(pixels)).max() < 1e-5
    again = []
    assert "when measured" in make_ready(model, EngineRequest(num_images=4096, device="cpu"), log=again.append).line
    assert not again


def test_a_compiled_network_answers_any_number_of_images(model):
    """Compiled for four: seven are cut into two batches, of which one is filled up."""
    engine = open_torch(model, EngineKind("compile", "float32"), batch_size=4)
    pixels = np.random.default_rng(1).integers(0, 256, (7, 32, 32, 1), np.uint8)
    assert engine.run(pixels).shape == (7, 10)
    assert np.abs(engine.run(pixels) - model.run(pixels)).max() < 1e-5
