"""Average pooling with a divisor of its own, put in words that ONNX has.

torch.onnx (2.14) writes such a pooling as the ordinary average, without a word: lenet1's sums of four became means of
four. This can go when it translates `divisor_override`.
"""

from math import prod
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from striate.errors import InputError

_NAMES = ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
_DEFAULTS: dict[str, Any] = {
    "stride": [],
    "padding": [0, 0],
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
}


def spell_out_divisors(program: ExportedProgram) -> None:
    """Turn every avg_pool2d with a divisor into the ordinary average times a number, in place.

    Raises InputError where windows may reach over the edge (ceil_mode): there the average divides by what is inside.
    """
    average = torch.ops.aten.avg_pool2d.default
    for node in list(program.graph.nodes):
        if node.op == "call_function" and node.target is average:
            _spell_out(program, node)
    program.graph_module.recompile()


def _spell_out(program: ExportedProgram, node: Node) -> None:
    settings = _DEFAULTS | dict(zip(_NAMES, node.args, strict=False)) | dict(node.kwargs)
    divisor = settings["divisor_override"]
    if divisor is None:
        return
    if settings["ceil_mode"]:
        raise InputError(
            "ONNX has nothing for average pooling with both ceil_mode and divisor_override; leave one out, or export "
            "with --to torch"
        )
    kernel_size = list(settings["kernel_size"])
    area = prod(kernel_size) if len(kernel_size) == 2 else kernel_size[0] ** 2
    node.args = (*(settings[name] for name in _NAMES[:4]), False, True, None)
    node.kwargs = {}
    with program.graph.inserting_after(node):
        scaled = program.graph.call_function(torch.ops.aten.mul.Tensor, (node, area / divisor))
    scaled.meta = dict(node.meta)
    node.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)
