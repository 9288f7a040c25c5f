"""Checkpoints: everything a run needs to go on, in plain files that survive being killed while they are written.

A checkpoint is two files in the run's checkpoint/ folder: `step-XXXXXXXX.safetensors` holds the tensors,
`step-XXXXXXXX.json` the rest and the SHA-256 of both. Each is written beside its place, flushed to the disk and
renamed; the JSON comes last, so a checkpoint without it was never finished. Nothing is ever pickled.
"""

import errno
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from striate.data.cache import write_atomically
from striate.errors import RunError
from striate.progress import Log, log_nothing

FORMAT = 1
NUM_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """`values` are plain JSON, `tensors` lie on the CPU; `step` is the number of updates made."""

    step: int
    values: dict[str, Any]
    tensors: dict[str, Tensor]


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint and remove all but the newest two.

    RunError when the disk is full or cannot be written; the checkpoints from before are then still there.
    """
    name = f"step-{checkpoint.step:08d}"
    tensor_bytes = safetensors.torch.save({key: _own_copy(value) for key, value in checkpoint.tensors.items()})
    values = {
        "format": FORMAT,
        "step": checkpoint.step,
        "values": checkpoint.values,
        "tensors_sha256": hashlib.sha256(tensor_bytes).hexdigest(),
    }
    body = json.dumps({**values, "sha256": _digest(values)}, indent=1, allow_nan=False).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # an older checkpoint of this very step must not vouch for the new tensors
        (folder / f"{name}.json").unlink(missing_ok=True)
        write_atomically(folder / f"{name}.safetensors", tensor_bytes)
        write_atomically(folder / f"{name}.json", body)
        _remove_old(folder)
    except OSError as error:
        raise RunError(cannot_write(folder, error, len(tensor_bytes) + len(body))) from error


def load_newest_checkpoint(folder: Path, *, log: Log = log_nothing) -> Checkpoint | None:
    """The newest whole checkpoint; damaged ones are passed over, each with a line. None where there is none at all.

    RunError when there are checkpoints and every one of them is damaged, or when they are a later version's.
    """
    paths = sorted(folder.glob("step-*.json"), reverse=True)
    for path in paths:
        try:
            return _load(path)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            log(f"checkpoint {path.stem} is damaged ({_reason(error)}); going back to the one before")
    if paths:
        raise RunError(f"all {len(paths)} checkpoints in {folder} are damaged; start the run again in a new folder")
    return None


def has_checkpoints(folder: Path) -> bool:
    """Whether a run has been checkpointed in this folder."""
    return any(folder.glob("step-*.json"))


def cannot_write(path: Path, error: OSError, size_bytes: int = 0) -> str:
    """One line for a file that could not be written: why, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        needed = f" ({size_bytes / 1e6:.1f} MB are needed)" if size_bytes else ""
        return f"the disk is full: cannot write {path}{needed}; free some space and resume the run"
    return f"cannot write {path}: {error.strerror or error}; make it writable and resume the run"


def pack_tree(tree: Any, prefix: str, tensors: dict[str, Tensor]) -> Any:
    """A tree of dictionaries, lists, tensors and plain values as plain JSON; its tensors go to `tensors` under names
    from `prefix`.

    Whole-number keys, tuples and infinities come back from `unpack_tree` as they were. TypeError for anything else.
    """
    if isinstance(tree, Tensor):
        tensors[prefix] = tree
        return {"tensor": prefix}
    if isinstance(tree, dict):
        return {"dict": [[key, pack_tree(value, f"{prefix}.{key}", tensors)] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        kind = "tuple" if isinstance(tree, tuple) else "list"
        return {kind: [pack_tree(value, f"{prefix}.{place}", tensors) for place, value in enumerate(tree)]}
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"float": repr(tree)}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a checkpoint cannot hold {prefix}, a {type(tree).__name__}")


def unpack_tree(packed: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `pack_tree`."""
    if not isinstance(packed, dict):
        return packed
    ((kind, value),) = packed.items()
    match kind:
        case "tensor":
            return tensors[value]
        case "dict":
            return {key: unpack_tree(item, tensors) for key, item in value}
        case "float":
            return float(value)
    items = [unpack_tree(item, tensors) for item in value]
    return tuple(items) if kind == "tuple" else items


def _load(path: Path) -> Checkpoint:
    body = json.loads(path.read_bytes())
    if (version := body["format"]) > FORMAT:
        raise RunError(f"checkpoint {path} has version {version}; this striate reads up to {FORMAT}: update it")
    if body.pop("sha256") != _digest(body):
        raise ValueError("its checksum does not match")
    tensor_bytes = path.with_suffix(".safetensors").read_bytes()
    if hashlib.sha256(tensor_bytes).hexdigest() != body["tensors_sha256"]:
        raise ValueError("the checksum of its tensors does not match")
    return Checkpoint(body["step"], body["values"], safetensors.torch.load(tensor_bytes))


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _own_copy(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, and sharing its memory with no other tensor, as the format demands."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _remove_old(folder: Path) -> None:
    kept = {path.stem for path in sorted(folder.glob("step-*.json"))[-NUM_KEPT:]}
    for suffix in ("json", "safetensors"):  # in this order: tensors without their JSON are no checkpoint
        for path in folder.glob(f"step-*.{suffix}"):
            if path.stem not in kept:
                path.unlink(missing_ok=True)
    for path in folder.glob(".step-*"):  # begun by a process that was killed
        path.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
