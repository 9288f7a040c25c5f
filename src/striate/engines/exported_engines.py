"""The engines that run an exported copy of a model: ONNX Runtime and OpenVINO. N images of H x W pixels, K classes.

Not by way of export.running, which imports torch: an answer must be there before torch would be.
"""

from pathlib import Path
from typing import Any

import numpy as np

from striate.engines.engine import Engine, EngineKind, check_installed, num_threads
from striate.errors import InputError
from striate.export.openvino_core import openvino_core
from striate.tasks.predictions import ForwardFn

INPUT = "images"
"""The name of the exported graph's input (export.about)."""


def open_exported_engine(path: Path, kind: EngineKind) -> Engine:
    """ONNX Runtime or OpenVINO on the ONNX file at `path`, ready. InputError where it is missing or cannot run the
    file.
    """
    check_installed(kind.name)
    opener = _open_onnxruntime if kind.name == "onnxruntime" else _open_openvino
    return Engine(kind, opener(path, kind))


def _open_onnxruntime(path: Path, kind: EngineKind) -> ForwardFn:
    import onnxruntime

    if kind.precision not in ("float32", "int8"):
        raise InputError(f"onnxruntime does not compute in {kind.precision}; choose float32 or int8")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its warnings are about its own parts; errors are raised
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads(), 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds, one for each way of failing
        raise InputError(f"onnxruntime cannot run {path}: {_brief(error)}") from error

    def run(pixels: np.ndarray) -> np.ndarray:
        answer: np.ndarray = session.run(None, {INPUT: pixels})[0]
        return answer

    return run


def _open_openvino(path: Path, kind: EngineKind) -> ForwardFn:
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT" if kind.variant == "throughput" else "LATENCY",
        # told always: on processors that have bfloat16 it is OpenVINO's default, and answers differ
        "INFERENCE_PRECISION_HINT": "bf16" if kind.precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": num_threads(),
    }
    try:
        core = openvino_core()
        compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
        num_requests = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        requests = [compiled.create_infer_request() for _ in range(max(1, num_requests))]
    except Exception as error:  # RuntimeError and kinds of its own
        raise InputError(f"openvino cannot run {path}: {_brief(error)}") from error
    return SeveralRequests(requests) if kind.variant == "throughput" and len(requests) > 1 else OneRequest(requests[0])


class OneRequest:
    """One request of OpenVINO's, which uses all threads for each batch."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        answer = self._request.infer({INPUT: np.ascontiguousarray(pixels)}, share_inputs=True)[0]
        return np.array(answer, np.float32)  # a copy: the next batch overwrites it


class SeveralRequests:
    """Several requests at once, each with its share of the threads and of the batch."""

    def __init__(self, requests: list[Any]) -> None:
        self._requests = requests

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        parts = [np.ascontiguousarray(part) for part in np.array_split(pixels, len(self._requests)) if len(part)]
        pairs = list(zip(self._requests, parts, strict=False))
        for request, part in pairs:
            request.start_async({INPUT: part}, share_inputs=True)
        answers = []
        for request, _ in pairs:
            request.wait()
            answers.append(np.array(request.get_output_tensor(0).data, np.float32))
        return np.concatenate(answers)


def _brief(error: Exception) -> str:
    """The line that says what happened: OpenVINO names places in its source before it, ONNX Runtime a number."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:240]
