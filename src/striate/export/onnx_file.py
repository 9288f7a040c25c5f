"""A model as one ONNX file."""

from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from striate.data.cache import write_atomically
from striate.errors import InputError
from striate.export.about import INPUT, KEY, OUTPUT, describe_export, to_text
from striate.export.program import quiet, trace
from striate.tasks.model import Model

OPSET = 18
MAX_BYTES = 2**31 - 1
"""A protobuf message can be no larger, and all of the model is to be in the one file."""


def write_onnx(model: Model, path: str | Path, *, resize: bool, about: dict[str, Any] | None = None) -> None:
    """Write pixels (N, H, W, C) uint8 "images" -> (N, K) float32 "probabilities" as one ONNX file, in one stroke.

    N is free, and with `resize` so are H and W; else they are `preprocessing.crop_size`. `about` goes into the file's
    metadata; `describe_export` by default. The model stays as it is. Raises InputError where the network cannot be
    expressed, where the onnx extra is not installed, and for a file over 2 GB; OSError where it cannot be written.
    """
    document = about or describe_export(model, resize=resize)
    _check_installed()
    _check_size(model)
    write_atomically(Path(path), onnx_bytes(trace(model, resize=resize), model.network_name, document))


def onnx_bytes(program: ExportedProgram, network_name: str, about: dict[str, Any]) -> bytes:
    """The ONNX file of a program, with `about` in its metadata, checked by onnx.checker."""
    import onnx

    try:
        with quiet():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                external_data=False,
            )
    except Exception as error:  # torch.onnx.errors and whatever its translations raise
        raise InputError(f"{network_name} cannot be written as ONNX: {error}") from error
    assert exported is not None  # only the old exporter gives nothing
    proto = exported.model_proto
    onnx.helper.set_model_props(proto, {KEY: to_text(about)})
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"writing ONNX needs {error.name}, which is missing; pip install 'striate[onnx]'") from None


def _check_size(model: Model) -> None:
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in model.network.state_dict().values())
    if size_bytes > MAX_BYTES:
        raise InputError(
            f"{model.network_name} has {size_bytes / 1e9:.1f} GB of weights but one ONNX file holds at most 2.1 GB; "
            "export it with --to torch"
        )
