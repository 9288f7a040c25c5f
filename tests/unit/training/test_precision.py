"""Where 16-bit arithmetic is native."""

import pytest
import torch

from striate.training.precision import has_fast_bf16


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True, "avx2": True}, True), ({"avx512_f": True}, False), ({}, False)],
)
def test_the_processor_says_so(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_fast_bf16(torch.device("cpu")) is expected


def test_a_pytorch_that_cannot_tell_and_a_device_without(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_fast_bf16(torch.device("cpu"))
    assert not has_fast_bf16(torch.device("mps"))
