"""The engines that run an exported copy of a model: ONNX Runtime and OpenVINO. Imports no torch. N images, K classes."""

from pathlib import Path
from typing import Any

import numpy as np

from striate.engines.engine import Engine, EngineKind, check_installed, num_threads
from striate.errors import InputError
from striate.export.running import open_exported
from striate.tasks.answering import Run

INPUT = "images"


def open_exported_engine(path: Path, kind: EngineKind) -> Engine:
    """ONNX Runtime or OpenVINO on the ONNX file at `path`, ready. InputError where it is missing or cannot run the file."""
    check_installed(kind.name)
    if kind.name == "onnxruntime":
        return Engine(kind, open_exported(path, engine="onnxruntime", num_threads=num_threads()).run)
    return Engine(kind, _open_openvino(path, kind))


def _open_openvino(path: Path, kind: EngineKind) -> Run:
    import openvino

    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT" if kind.variant == "throughput" else "LATENCY",
        # told always: on processors that have bfloat16 it is OpenVINO's default, and answers differ
        "INFERENCE_PRECISION_HINT": "bf16" if kind.precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": num_threads(),
    }
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
        num_requests = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        requests = [compiled.create_infer_request() for _ in range(max(1, num_requests))]
    except Exception as error:  # OpenVINO raises RuntimeError and kinds of its own
        raise InputError(f"openvino cannot run {path}: {_last_line(error)}") from error
    return _Requests(requests) if kind.variant == "throughput" and len(requests) > 1 else _Single(requests[0])


class _Single:
    """One request, which uses all threads for each batch."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        answers = self._request.infer({INPUT: pixels}, share_inputs=True)
        return np.array(next(iter(answers.values())), np.float32)


class _Requests:
    """Several requests at once, each with its share of the threads and of the batch."""

    def __init__(self, requests: list[Any]) -> None:
        self._requests = requests

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        parts = [part for part in np.array_split(pixels, len(self._requests)) if len(part)]
        pairs = list(zip(self._requests, parts, strict=False))
        for request, part in pairs:
            request.start_async({INPUT: part}, share_inputs=True)
        answers = []
        for request, _ in pairs:
            request.wait()
            answers.append(np.array(request.get_output_tensor(0).data, np.float32))
        return np.concatenate(answers)


def _last_line(error: Exception) -> str:
    """OpenVINO tells where in its source first, and what happened last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
