"""A model as OpenVINO's pair of files: the graph in .xml, the weights in .bin beside it."""

from pathlib import Path
from typing import Any

from striate.errors import InputError
from striate.export.about import KEY, describe_export, to_text
from striate.export.onnx_file import check_installed, onnx_bytes
from striate.export.program import trace
from striate.export.running import engine_module
from striate.tasks.model import Model


def write_openvino(model: Model, path: str | Path, *, resize: bool, about: dict[str, Any] | None = None) -> None:
    """Write pixels (N, H, W, C) uint8 -> probabilities (N, K) as `path` (.xml) and its .bin, as `write_onnx` does.

    The weights stay float32; the document is in the .xml under rt_info/striate. It is converted from the ONNX form. Two
    files cannot be replaced in one stroke: `exporting.export_model` writes them elsewhere and moves them.
    """
    engine_module("openvino")
    check_installed("openvino")
    document = about or describe_export(model, resize=resize)
    data = onnx_bytes(trace(model, resize=resize), model.network_name, document)
    convert_onnx(data, path, network_name=model.network_name, about=document)


def convert_onnx(data: bytes, path: str | Path, *, network_name: str, about: dict[str, Any]) -> None:
    """Write the bytes of an ONNX file as `path` (.xml) and its .bin. InputError where OpenVINO has no form for it."""
    openvino = engine_module("openvino")
    try:
        network = openvino.Core().read_model(data)
    except RuntimeError as error:
        raise InputError(
            f"{network_name} cannot be converted for OpenVINO: {_reason(error)}; export it with --to onnx"
        ) from error
    network.set_rt_info(to_text(about), [KEY])
    openvino.save_model(network, path, compress_to_fp16=False)


def _reason(error: Exception) -> str:
    """The operator and what is wrong with it, out of a report of many lines; else its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    operators = [number for number, line in enumerate(lines) if line.endswith(" with a message:")]
    if not operators:
        return lines[0] if lines else "no reason given"
    operator = lines[operators[0]].removeprefix("-- ").removesuffix(" with a message:")
    why = next(
        (line for line in lines[operators[0] + 1 :] if not line.startswith("While validating")), "no reason given"
    )
    return f"{operator}: {why.rstrip('.')}"
