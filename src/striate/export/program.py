"""The graph of a model as PyTorch's exported program, from which every format is written."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch.export import Dim, ExportedProgram

from striate.errors import InputError
from striate.export.about import INPUT
from striate.export.graph import PixelsToProbabilities
from striate.tasks.model import Model

_EXAMPLE_IMAGES = 2  # of one image an exporter would conclude that there is always one
_EXAMPLE_EXCESS = (13, 22)
"""Height and width of the example beyond the crop: sizes that coincide with no other in the graph."""


def trace(model: Model, *, resize: bool) -> ExportedProgram:
    """The program of pixels (N, H, W, C) uint8 -> probabilities (N, K): any N and, with `resize`, any H and W.

    Raises InputError where torch.export cannot follow the network.
    """
    graph = PixelsToProbabilities(model, resize=resize)
    height, width = model.preprocessing.crop_size
    dynamic = {0: Dim("N", min=1)}
    if resize:
        height, width = height + _EXAMPLE_EXCESS[0], width + _EXAMPLE_EXCESS[1]
        dynamic |= {1: Dim("H", min=1), 2: Dim("W", min=1)}
    example = torch.zeros(_EXAMPLE_IMAGES, height, width, model.preprocessing.channels, dtype=torch.uint8)
    try:
        with torch.no_grad(), quiet():
            program = torch.export.export(graph, (example,), dynamic_shapes={INPUT: dynamic})
    except Exception as error:  # whatever a stranger's network does while it is traced
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"{model.network_name} cannot be exported: torch.export cannot follow its forward ({reason.strip()}); "
            "write it without decisions that depend on the values or number of the images"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it would carry this machine's paths into every file
    return program


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, log lines or listings from the exporters, which speak of their own inner parts."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
