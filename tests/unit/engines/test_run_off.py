"""The fastest engines are timed once more, taking turns."""

import numpy as np
import pytest

from striate.engines import run_off as module
from striate.engines.engine import REFERENCE, Engine, EngineKind
from striate.engines.measurement import Agreement, Row, Timing
from striate.engines.measuring import Plan
from striate.engines.run_off import contenders, run_off
from striate.engines.samples import Samples

ONNX = EngineKind("onnxruntime", "float32")
OPENVINO = EngineKind("openvino", "float32", "latency")
COMPILED = EngineKind("compile", "float32")
AGREES = Agreement(32, 32, 1e-6, is_on_own_images=False)
SAMPLES = Samples(np.zeros((4, 2, 2, 3), np.uint8), "hand-made", is_own=False)
PLAN = Plan(batch_sizes=(1, 8), repeats=3)


def row(kind: EngineKind, milliseconds: float, agreement: Agreement = AGREES) -> Row:
    timings = (Timing(1, milliseconds, 9), Timing(8, 8 * milliseconds, 9))
    return Row(kind, open_s=0.1, timings=timings, agreement=agreement)


@pytest.mark.parametrize(
    ("rows", "places"),
    [
        ([row(REFERENCE, 30), row(OPENVINO, 10), row(ONNX, 9)], [2, 1]),
        ([row(REFERENCE, 30), row(OPENVINO, 10), row(ONNX, 15)], [1]),
        ([row(OPENVINO, 10), row(COMPILED, 9)], [0]),
        ([row(REFERENCE, 11), row(OPENVINO, 10, Agreement(32, 31, 1e-6, False)), row(ONNX, 12)], [0, 2]),
        ([row(REFERENCE, 11), Row(ONNX, problem="not installed")], [0]),
    ],
)
def test_who_is_close(rows, places):
    assert contenders(rows, 1) == places
    assert not contenders(rows, 4)  # a size that was not measured


def test_new_times_replace_the_old_ones_of_those_who_are_close(monkeypatch):
    """OpenVINO looked slower while the machine was busy; side by side it takes half the time."""
    clock, order = [0.0], []
    costs = {OPENVINO: 0.005, ONNX: 0.010}

    def open_row(opened: Row, _: int) -> Engine:
        def run(pixels: np.ndarray) -> np.ndarray:
            order.append(opened.kind)
            clock[0] += costs[opened.kind] * len(pixels)
            return pixels

        return Engine(opened.kind, run)

    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    rows = [row(REFERENCE, 30), row(OPENVINO, 11), row(ONNX, 10)]
    found = run_off(rows, open_row, SAMPLES, PLAN)
    assert found[0] == rows[0]
    assert [round(each.milliseconds, 6) for each in found[1].timings] == [5, 40]
    assert [round(each.milliseconds, 6) for each in found[2].timings] == [10, 80]
    assert found[1].timings[0].num_repeats == 3
    assert order[:8] == [ONNX, OPENVINO] * 4  # once each to warm up, then in turns


def test_one_alone_is_not_timed_again():
    rows = [row(REFERENCE, 30), row(ONNX, 10)]
    assert run_off(rows, lambda *_: pytest.fail("opened for nothing"), SAMPLES, PLAN) == rows


def test_an_engine_that_fails_the_second_time_is_out():
    def open_row(opened: Row, _: int) -> Engine:
        if opened.kind == ONNX:
            raise RuntimeError("the file is gone")
        return Engine(opened.kind, lambda pixels: pixels)

    found = run_off([row(OPENVINO, 11), row(ONNX, 10)], open_row, SAMPLES, PLAN)
    assert found[0].problem is None
    assert found[1].problem == "failed when it was opened again: the file is gone"
