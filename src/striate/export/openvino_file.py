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
    openvino = engine_module("openvino")
    check_installed("openvino")
    document = about or describe_export(model, resize=resize)
    data = onnx_bytes(trace(model, resize=resize), model.network_name, document)
    try:
        network = openvino.Core().read_model(data)
    except RuntimeError as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise InputError(
            f"{model.network_name} cannot be converted for OpenVINO: {reason}; export it with --to onnx"
        ) from error
    network.set_rt_info(to_text(document), [KEY])
    openvino.save_model(network, path, compress_to_fp16=False)
