"""Run an exported file in the engine it was written for. N images of H x W pixels and C channels, K classes."""

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from striate.errors import InputError, ModelFileError
from striate.export.about import INPUT, KEY, VERSION

ENGINES: dict[str, tuple[str, ...]] = {
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".pt2": ("torch",),
}
"""The engines that run a file of each ending; the first is the usual one."""
_EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino", "onnx": "onnx"}


@dataclass(frozen=True, eq=False)
class Runner:
    """An exported model, loaded into an engine. `about` is the document of docs/export.md; on the CPU."""

    engine: str
    about: dict[str, Any]
    compute: Callable[[np.ndarray], np.ndarray]

    def run(self, images: np.ndarray) -> np.ndarray:
        """Pixels (N, H, W, C) uint8 of one size -> probabilities (N, K) float32. InputError for anything else."""
        shape = self.about["input"]["shape"]
        fits = images.ndim == len(shape) and all(
            isinstance(wanted, str) or wanted == found for wanted, found in zip(shape, images.shape, strict=True)
        )
        if images.dtype != np.uint8 or not fits or 0 in images.shape:
            wanted = ", ".join(str(each) for each in shape)
            raise InputError(
                f"expected pixels ({wanted}) uint8, at least one image, but got {tuple(images.shape)} {images.dtype}; "
                "give decoded images of one size"
            )
        return self.compute(np.ascontiguousarray(images))


def open_exported(path: str | Path, *, engine: str | None = None, num_threads: int | None = None) -> Runner:
    """An exported .onnx, OpenVINO .xml (its .bin beside it) or .pt2 file, ready to run on the CPU.

    `engine` is one of `ENGINES[suffix]`, the first by default; `num_threads` what it may use, its own choice by default.
    OpenVINO computes in float32, not in the shorter type it would choose. Raises InputError where the engine is not
    installed or does not run such files, ModelFileError for a file that is damaged or none of striate's.
    """
    path = Path(path)
    engines = ENGINES.get(path.suffix)
    if engines is None:
        raise InputError(f"{path} is no exported model; expected a file ending in {', '.join(ENGINES)}")
    if engine is not None and engine not in engines:
        raise InputError(f"{engine} does not run {path.suffix} files; choose {' or '.join(engines)}")
    if num_threads is not None and num_threads < 1:
        raise InputError(f"num_threads must be at least 1 but is {num_threads}")
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist; make it with striate export")
    chosen = engine or engines[0]
    return _OPENERS[chosen](path, num_threads)


def parse_about(text: str | None, path: Path) -> dict[str, Any]:
    """The document of an exported file, from its JSON; ModelFileError where there is none that we can read."""
    try:
        about = json.loads(text or "null")
    except ValueError:
        about = None
    if not isinstance(about, dict) or not isinstance(about.get("input"), dict):
        raise ModelFileError(f"{path} was not exported by striate: it carries no description of its images")
    if about.get("version") != VERSION:
        raise ModelFileError(
            f"{path} is an export of version {about.get('version')} but this striate reads version {VERSION}; export it anew"
        )
    return about


def engine_module(name: str) -> ModuleType:
    """The engine's Python package; InputError, naming what to install, where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"{name} is not installed; pip install 'striate[{_EXTRAS[name]}]'") from None


def _open_in_onnxruntime(path: Path, num_threads: int | None) -> Runner:
    ort = engine_module("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its warnings are of its own making; errors are raised
    if num_threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds, one for each way of being damaged
        raise ModelFileError(f"ONNX Runtime cannot load {path}: {_first_line(error)}") from error
    about = parse_about(session.get_modelmeta().custom_metadata_map.get(KEY), path)
    return Runner("onnxruntime", about, lambda images: session.run(None, {INPUT: images})[0])


def _open_in_openvino(path: Path, num_threads: int | None) -> Runner:
    openvino = engine_module("openvino")
    # Its usual precision is bfloat16 on CPUs that have it: other answers than the model's.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if num_threads is not None:
        config["INFERENCE_NUM_THREADS"] = num_threads
    core = openvino.Core()
    try:
        network = core.read_model(path)
        about = parse_about(_openvino_text(network, path), path)
        request = core.compile_model(network, "CPU", config).create_infer_request()
    except RuntimeError as error:
        raise ModelFileError(f"OpenVINO cannot load {path}: {_first_line(error)}") from error
    # One request: a runner answers one thread at a time, and its answers are overwritten by the next
    return Runner("openvino", about, lambda images: request.infer({INPUT: images})[0].copy())


def _openvino_text(network: Any, path: Path) -> str | None:
    """The document in an OpenVINO model; one read from ONNX keeps the metadata of that file under "framework"."""
    place = ["framework", KEY] if path.suffix == ".onnx" else [KEY]
    return str(network.get_rt_info(place).value) if network.has_rt_info(place) else None


def _open_in_torch(path: Path, num_threads: int | None) -> Runner:
    raise InputError(f"{path} cannot be opened with {num_threads} threads yet")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


_OPENERS: dict[str, Callable[[Path, int | None], Runner]] = {
    "onnxruntime": _open_in_onnxruntime,
    "openvino": _open_in_openvino,
    "torch": _open_in_torch,
}
