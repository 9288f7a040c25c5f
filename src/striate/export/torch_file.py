"""A model as PyTorch's exported program, one .pt2 file."""

import io
from pathlib import Path
from typing import Any

import torch

from striate.data.cache import write_atomically
from striate.export.about import describe_export, to_text
from striate.export.program import quiet, trace
from striate.tasks.model import Model

ABOUT_NAME = "striate.json"
"""The extra file within the archive that holds the document."""


def write_torch(model: Model, path: str | Path, *, resize: bool, about: dict[str, Any] | None = None) -> None:
    """Write pixels (N, H, W, C) uint8 -> probabilities (N, K) as a .pt2 file, in one stroke, as `write_onnx` does.

    Such a file is for machines that have PyTorch, of this version or one close to it. It is a zip archive; the example
    images in it are pickled by torch, and whoever loads it trusts it (see `running.open_exported`).
    """
    document = about or describe_export(model, resize=resize)
    file = io.BytesIO()
    with quiet():
        torch.export.save(trace(model, resize=resize), file, extra_files={ABOUT_NAME: to_text(document)})
    write_atomically(Path(path), file.getvalue())
