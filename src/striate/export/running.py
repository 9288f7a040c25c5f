"""Run an exported file in the engine it was written for. N images of H x W pixels and C channels, K classes."""

import importlib
import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from striate.errors import InputError, ModelFileError
from striate.export.about import INPUT, KEY, VERSION
from striate.export.openvino_core import openvino_core
from striate.export.torch_file import ABOUT_NAME

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
        """Pixels (N, H, W, C) uint8 of one size -> probabilities (N, K) float32.

        Raises InputError for anything else, ModelFileError where the engine fails: the file is not what it says it is.
        """
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
        try:
            return self.compute(np.ascontiguousarray(images))
        except Exception as error:  # each engine has its own kinds
            raise ModelFileError(
                f"{self.engine} cannot run the exported file: {_first_line(error)}; export it anew"
            ) from error


def open_exported(
    path: str | Path, *, engine: str | None = None, num_threads: int | None = None, trust: bool = False
) -> Runner:
    """An exported .onnx, OpenVINO .xml (its .bin beside it) or .pt2 file, ready to run on the CPU.

    `engine` is one of `ENGINES[suffix]`, the first by default; `num_threads` what it may use, its own choice by
    default. OpenVINO computes in float32, not in the shorter type it would choose. Loading a .pt2 file can run code
    that is hidden in it, so that it needs `trust`: say so only of files that you made, or whose maker you trust. Raises
    InputError where the engine is not installed or does not run such files, ModelFileError for a file that is damaged
    or none of striate's.
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
    if path.suffix == ".pt2" and not trust:
        raise InputError(
            f"loading {path} could run code hidden in it, as PyTorch unpickles parts of such files; if you made it or "
            "trust its maker, say --trust (trust=True)"
        )
    chosen = engine or engines[0]
    return _OPENERS[chosen](path, num_threads)


def parse_about(text: str | None, path: Path) -> dict[str, Any]:
    """The document of an exported file, from its JSON; ModelFileError where there is none that we can read."""
    try:
        about = json.loads(text or "null")
    except ValueError:
        about = None
    if not isinstance(about, dict) or "version" not in about:
        raise ModelFileError(f"{path} was not exported by striate: it carries no description of its images")
    if about.get("version") != VERSION:
        raise ModelFileError(
            f"{path} is an export of version {about.get('version')} but this striate reads version {VERSION}; export "
            "it anew"
        )
    if not _is_whole(about):
        raise ModelFileError(f"the description in {path} is not whole; export it anew")
    return about


def _is_whole(about: dict[str, Any]) -> bool:
    """Whether everything is there that running and proving rely on."""
    given = about.get("input")
    shape = given.get("shape") if isinstance(given, dict) else None
    return (
        isinstance(shape, list)
        and len(shape) == 4
        and type(about.get("resize_inside")) is bool
        and isinstance(about.get("class_names"), list)
        and isinstance(about.get("preprocessing"), dict)
    )


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
    engine_module("openvino")
    # Its usual precision is bfloat16 on CPUs that have it: other answers than the model's.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if num_threads is not None:
        config["INFERENCE_NUM_THREADS"] = num_threads
    try:
        core = openvino_core()
        network = core.read_model(path)
        about = parse_about(_openvino_text(network, path), path)
        request = core.compile_model(network, "CPU", config).create_infer_request()
    except RuntimeError as error:
        raise ModelFileError(f"OpenVINO cannot load {path}: {_first_line(error)}") from error
    # The one request answers one thread at a time and overwrites its answer, hence the copy
    return Runner("openvino", about, lambda images: request.infer({INPUT: images})[0].copy())


def _openvino_text(network: Any, path: Path) -> str | None:
    """The document in an OpenVINO model; one read from ONNX keeps the metadata of that file under "framework"."""
    place = ["framework", KEY] if path.suffix == ".onnx" else [KEY]
    return str(network.get_rt_info(place).value) if network.has_rt_info(place) else None


def _open_in_torch(path: Path, num_threads: int | None) -> Runner:
    import torch

    try:
        about = parse_about(_torch_text(path), path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable")  # PyTorch 2.11, of its own reading
            program = torch.export.load(path).module()
    except ModelFileError:
        raise
    except Exception as error:  # zip, JSON and schema errors of many kinds
        raise ModelFileError(f"PyTorch cannot load {path}: {_first_line(error)}") from error

    def compute(images: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        torch.set_num_threads(num_threads or before)
        try:
            with torch.no_grad():
                answer: np.ndarray = program(torch.from_numpy(images)).numpy()
        finally:
            torch.set_num_threads(before)
        return answer

    return Runner("torch", about, compute)


def _torch_text(path: Path) -> str | None:
    """The document in a .pt2 archive, read without loading anything else of it."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(f"/extra/{ABOUT_NAME}")]
        return archive.read(names[0]).decode() if names else None


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


_OPENERS: dict[str, Callable[[Path, int | None], Runner]] = {
    "onnxruntime": _open_in_onnxruntime,
    "openvino": _open_in_openvino,
    "torch": _open_in_torch,
}
