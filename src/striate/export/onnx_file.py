"""A model as one ONNX file."""

import re
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from striate.data.cache import write_atomically
from striate.errors import InputError
from striate.export.about import INPUT, KEY, describe_export, to_text
from striate.export.divisors import spell_out_divisors
from striate.export.program import quiet, trace
from striate.tasks.model import Model

OPSET = 18
_FAILED_NODE = re.compile(r"translating node %(\w+) .*?target=torch\.ops\.([\w.]+?)(?:\.default)?\]", re.DOTALL)
MAX_BYTES = 2**31 - 1
"""A protobuf message can be no larger, and all of the model is to be in the one file."""


def write_onnx(model: Model, path: str | Path, *, resize: bool, about: dict[str, Any] | None = None) -> None:
    """Write pixels (N, H, W, C) uint8 "images" -> (N, K) float32 "probabilities" as one ONNX file, in one stroke.

    N is free, and with `resize` so are H and W; else they are `preprocessing.crop_size`. `about` goes into the file's
    metadata; `describe_export` by default. The model stays as it is. Raises InputError where the network cannot be
    expressed, where the onnx extra is not installed, and for a file over 2 GB; OSError where it cannot be written.
    """
    document = about or describe_export(model, resize=resize)
    check_installed("onnx")
    _check_size(model)
    write_atomically(Path(path), onnx_bytes(trace(model, resize=resize), model.network_name, document))


def onnx_bytes(program: ExportedProgram, network_name: str, about: dict[str, Any]) -> bytes:
    """The ONNX file of a program, with `about` in its metadata, checked by onnx.checker; the program may be
    rewritten.
    """
    import onnx

    spell_out_divisors(program)
    try:
        with quiet():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[about["output"]["name"]],
                external_data=False,
            )
    except Exception as error:  # torch.onnx.errors and whatever its translations raise
        raise InputError(f"{network_name} cannot be written as ONNX: {_reason(error, program)}") from error
    assert exported is not None  # only the old exporter gives nothing
    proto = exported.model_proto
    _forget_origins(proto.graph)
    onnx.helper.set_model_props(proto, {KEY: to_text(about)})
    onnx.checker.check_model(proto, full_check=True)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def check_installed(extra: str) -> None:
    """Raise InputError, naming the extra to install, where what writes ONNX files is missing."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"this export needs {error.name}, which is not installed; pip install 'striate[{extra}]'"
        ) from None


def _forget_origins(graph: Any) -> None:
    """Drop what the exporter notes of every node and value: longer than a small network's weights, and of no use to run
    it.
    """
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]


def _reason(error: BaseException, program: ExportedProgram) -> str:
    """Why a program has no ONNX form: the operator and the layer where they can be told, else what the exporter
    says.
    """
    failed = _FAILED_NODE.search(f"{error} {error.__cause__}")
    if failed is None:
        return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    name, operator = failed.groups()
    layer = _layer_of(name, program) or _layer_of(name, program.run_decompositions())
    where = f", which its layer {layer} uses" if layer else ""
    return f"ONNX has nothing for the operator {operator}{where}; replace it, or export with --to torch"


def _layer_of(node_name: str, program: ExportedProgram) -> str | None:
    """The innermost module of the network that a node comes from, as "features.1 (Fire)"; None where no node has the
    name.
    """
    for node in program.graph.nodes:
        if node.name == node_name and (stack := node.meta.get("nn_module_stack")):
            path, kind = list(stack.values())[-1]
            kind = kind if isinstance(kind, str) else kind.__qualname__
            return f"{path.removeprefix('network.')} ({kind.rsplit('.', 1)[-1]})"
    return None


def _check_size(model: Model) -> None:
    size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in model.network.state_dict().values())
    if size_bytes > MAX_BYTES:
        raise InputError(
            f"{model.network_name} has {size_bytes / 1e9:.1f} GB of weights but one ONNX file holds at most 2.1 GB; "
            "export it with --to torch"
        )
