"""Which engine may answer, and which is soonest done."""

import dataclasses

import numpy as np
import pytest

from striate.engines.candidates import candidates, why_impossible
from striate.engines.choosing import FEWEST_OWN_IMAGES, choose, why_not
from striate.engines.engine import REFERENCE, EngineKind, check_engine_name, check_installed, num_threads
from striate.engines.measurement import Agreement, Row, Timing
from striate.errors import InputError

RIGHT = Agreement(32, 32, 1e-6, is_on_own_images=False)
SLOW = Row(REFERENCE, open_s=0.0, timings=(Timing(1, 20.0, 9), Timing(32, 640.0, 9)), agreement=RIGHT)


def row(name, precision="float32", variant="", *, ms=5.0, agreement=RIGHT, **changes):
    timings = (Timing(1, ms, 9), Timing(32, 32 * ms, 9))
    return Row(EngineKind(name, precision, variant), open_s=0.1, timings=timings, agreement=agreement, **changes)


def test_the_fastest_that_agrees_is_taken():
    wrong = row("openvino", ms=1, agreement=Agreement(32, 31, 1e-6, is_on_own_images=True))
    rows = (SLOW, wrong, row("onnxruntime", ms=5), row("torch", variant="channels_last", ms=9))
    assert choose(rows, 1).kind.name == "onnxruntime"
    assert why_not(wrong) == "answers 1 of 32 images differently"


def test_probabilities_that_stray_keep_an_engine_out():
    strayed = row("onnxruntime", agreement=Agreement(32, 32, 2e-4, is_on_own_images=True))
    assert why_not(strayed) == "probabilities differ by up to 0.0002"
    assert choose((SLOW, strayed), 1) is SLOW


def test_16_bits_have_to_agree_on_many_images_of_the_users():
    def short(num_images, is_own):
        return row("openvino", "bfloat16", ms=1, agreement=Agreement(num_images, num_images, 1e-2, is_own))

    assert why_not(short(FEWEST_OWN_IMAGES, True)) is None
    for shown in (short(FEWEST_OWN_IMAGES, False), short(FEWEST_OWN_IMAGES - 1, True)):
        assert why_not(shown) == "16-bit must agree on 200 held-back images of yours"


def test_8_bits_and_failures_are_never_taken_unasked():
    own = Agreement(500, 500, 1e-3, is_on_own_images=True)
    assert why_not(row("openvino", "int8", agreement=own)) == "int8 is used only when asked for"
    assert why_not(Row(EngineKind("compile"), problem="needs a C++ compiler")) == "needs a C++ compiler"
    assert why_not(Row(EngineKind("compile"))) == "was not measured"


def test_getting_ready_counts_for_what_it_takes():
    """A hundred images at 1 ms and 25 s of compiling, against 5 ms at once."""
    compiled = dataclasses.replace(row("compile", ms=1), open_s=25.0)
    at_once = row("onnxruntime", ms=5)
    assert choose((SLOW, compiled, at_once), 32, num_images=100).kind.name == "onnxruntime"
    assert choose((SLOW, compiled, at_once), 32, num_images=100_000).kind.name == "compile"
    quick_torch = row("torch", variant="channels_last", ms=4.9)
    assert choose((SLOW, quick_torch, at_once), 32, num_images=10, is_torch_there=False).kind.name == "onnxruntime"
    assert choose((SLOW, quick_torch, at_once), 32, num_images=10).kind.name == "torch"


def test_the_nearest_batch_size_speaks_for_others():
    assert SLOW.timing(3).batch_size == 1
    assert SLOW.timing(30).batch_size == 32
    assert Timing(32, 640.0, 9).images_per_s == 50


def test_rows_come_back_from_plain_values():
    for each in (SLOW, row("openvino", "near-ties", "latency", gap=0.4, accuracy=0.5), Row(REFERENCE, problem="no")):
        assert Row.from_json(each.to_json()) == each


def test_candidates_start_with_the_slow_way():
    kinds = candidates()
    assert kinds[0] == REFERENCE
    assert len(set(kinds)) == len(kinds)
    assert not any(kind.precision == "int8" for kind in kinds)
    assert {kind.name for kind in candidates(engines=["openvino"])} == {"torch", "openvino"}
    assert {kind.precision for kind in candidates(only_exact=True)} == {"float32"}
    assert any(kind.precision == "int8" for kind in candidates(use_int8=True))


def test_what_cannot_be_tried_says_why(monkeypatch):
    short = EngineKind("openvino", "bfloat16", "latency")
    assert why_impossible(short, has_bf16=False, has_own_images=True) == "there is no bfloat16 arithmetic here"
    ties = EngineKind("openvino", "near-ties", "latency")
    assert why_impossible(ties, has_bf16=True, has_own_images=False) == "needs a SOURCE of your own images"
    monkeypatch.setattr("striate.engines.engine.find_spec", lambda _: None)
    assert (
        why_impossible(EngineKind("onnxruntime"), has_bf16=True, has_own_images=True)
        == "not installed; pip install 'striate[onnx]'"
    )
    with pytest.raises(
        InputError, match=r"the engine openvino needs the package openvino; install it with pip install"
    ):
        check_installed("openvino")


def test_unknown_names():
    with pytest.raises(
        InputError, match="engine must be one of auto, torch, compile, onnxruntime, openvino but is 'tpu'"
    ):
        check_engine_name("tpu")
    with pytest.raises(InputError, match="there is no engine 'torch' of precision 'int4'"):
        EngineKind("torch", "int4")


def test_threads_follow_the_usual_variable(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert num_threads() >= 1


def test_a_row_without_timings_is_never_chosen():
    assert choose((Row(REFERENCE, problem="no"),), 1) is None
    assert np.isfinite(SLOW.timing(1).images_per_s)
