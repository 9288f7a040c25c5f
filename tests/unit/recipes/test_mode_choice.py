"""A run in its fastest mode: said, stored, remembered, forced."""

import json
import random
from collections import Counter

import pytest
import torch

from damaged_json import TEXTS, with_another_part
from striate.data.opening import Access
from striate.errors import InputError
from striate.recipes import mode_choice, prepare
from striate.recipes import train as train_module
from striate.recipes.choices import Choices
from striate.recipes.mode_choice import ModeChoice
from striate.recipes.train import train
from striate.training.speed import autotune as modes
from striate.training.speed.autotune import Mode, ModeTiming, choose_mode


@pytest.fixture
def long_run(monkeypatch, tmp_path):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(modes, "LONG_RUN_S", 0.0)


def run_digits(path, **choices):
    told = []
    made = train("digits", Choices(epochs=1, **choices), run=path, run_checks=False, access=Access(log=told.append))
    return made, json.loads((path / "run.json").read_text()), told


@pytest.mark.usefixtures("long_run")
@pytest.mark.parametrize(("has_fast_bf16", "num_modes"), [(False, 2), (True, 4)], ids=["float32 only", "bfloat16"])
def test_a_measured_mode_is_said_stored_and_taken_again(tmp_path, monkeypatch, has_fast_bf16, num_modes):
    """Two layouts in every precision that the processor is said to have; this one computes bfloat16 either way."""
    for module in (mode_choice, prepare):
        monkeypatch.setattr(module, "has_fast_bf16", lambda _device: has_fast_bf16)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    first, described, told = run_digits(tmp_path / "first")
    assert told[0].startswith("measuring which of ")
    assert told[1].startswith("measured on this machine, images/s: ")
    mode, recipe = described["mode"], described["recipe"]
    assert told[1].endswith(f"taking {mode['chosen']}")
    assert not mode["remembered"]
    assert len(mode["timings"]) == num_modes
    assert any(
        all(row[name] == recipe[name] for name in ("precision", "use_channels_last", "num_threads"))
        for row in mode["timings"]
    )
    second, again, told = run_digits(tmp_path / "second")
    assert told[0].startswith("as measured before on this machine, images/s: ")
    assert again["mode"]["remembered"]
    assert again["mode"]["chosen"] == mode["chosen"]
    assert first.model_path.read_bytes()[-1000:] == second.model_path.read_bytes()[-1000:]


@pytest.mark.usefixtures("long_run")
def test_a_damaged_memory_is_measured_anew(tmp_path):
    run_digits(tmp_path / "first")
    (memory,) = (tmp_path / "cache" / "modes").iterdir()
    memory.write_text('[{"precision": "64-bit"}]')
    _, described, _ = run_digits(tmp_path / "second")
    assert not described["mode"]["remembered"]


@pytest.mark.usefixtures("long_run")
def test_what_is_asked_for_is_not_measured(tmp_path):
    choices = {"precision": "32-true", "use_channels_last": True, "num_threads": 1, "use_compile": False}
    _, described, told = run_digits(tmp_path / "run", **choices)
    assert described["mode"] is None
    assert {name: described["recipe"][name] for name in choices} == choices
    assert described["machine"]["threads"] == 1
    assert not any("measur" in line for line in told)


def test_a_short_run_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    _, described, _ = run_digits(tmp_path / "run")
    assert described["mode"] is None
    assert described["recipe"]["num_threads"] == 1
    assert not (tmp_path / "cache" / "modes").exists()


def test_cuda_graphs_without_cuda_are_refused():
    with pytest.raises(
        InputError, match="CUDA graphs need a CUDA device and this run is on cpu; leave --cuda-graphs out"
    ):
        train("digits", Choices(use_cuda_graphs=True), device="cpu")


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(train_module, "has_cpp_compiler", lambda: False)
    with pytest.raises(InputError, match="compiling needs a C\\+\\+ compiler and there is none here; install g\\+\\+"):
        train("digits", Choices(use_compile=True))


MODES = (Mode("32-true", False, 1), Mode("bf16-mixed", True, 1))
TIMINGS = (ModeTiming(MODES[0], 500.0), ModeTiming(MODES[1], None, "its loss is not finite"))


def recalled(path):
    """What is read back, used as a run would."""
    found = mode_choice._recall(path, MODES)
    if found:
        mode = choose_mode(found, 1000)
        mode_choice._line(mode, found, True)
        assert (ModeChoice(mode, tuple(timing.to_json() for timing in found), True).image_s or 1.0) > 0
        json.dumps([timing.to_json() for timing in found], allow_nan=False)
    return found


def test_measurements_of_any_json_are_read_or_passed_over(tmp_path, seed):
    path, draw = tmp_path / "modes.json", random.Random(seed)
    mode_choice._remember(path, TIMINGS)
    assert recalled(path) == TIMINGS
    whole, outcomes = json.loads(path.read_text()), Counter()
    for _ in range(400):
        path.write_text(json.dumps(with_another_part(whole, draw)))
        outcomes[recalled(path) is None] += 1
    assert outcomes[True] > 200
    for text in TEXTS:
        path.write_text(text)
        assert recalled(path) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("images_per_s", "fast"), ("images_per_s", 0), ("num_threads", 1.0), ("use_channels_last", 0), ("reason", 3)],
)
def test_a_measurement_of_another_type_is_passed_over(tmp_path, name, value):
    path = tmp_path / "modes.json"
    path.write_text(json.dumps([TIMINGS[0].to_json() | {name: value}, TIMINGS[1].to_json()]))
    assert recalled(path) is None
