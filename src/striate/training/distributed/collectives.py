"""Collectives for data-parallel training: gather strings, broadcast from rank 0, re-raise errors on every rank."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from striate import errors
from striate.errors import RunError, StriateError

T = TypeVar("T")
_KINDS = {
    kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StriateError)
}


def gather_texts(fabric: Fabric, text: str) -> list[str]:
    """Gather one string from every process, by rank. All come here together; nothing is pickled."""
    if fabric.world_size == 1:
        return [text]
    own = torch.frombuffer(bytearray(text.encode() or b"\0"), dtype=torch.uint8)
    lengths = _gathered(fabric, torch.tensor([len(text.encode())], device=fabric.device))[:, 0].tolist()
    padded = torch.zeros(max(1, *lengths), dtype=torch.uint8, device=fabric.device)
    padded[: len(own)] = own.to(fabric.device)
    rows = _gathered(fabric, padded).cpu()
    return [bytes(row[:length].tolist()).decode() for row, length in zip(rows, lengths, strict=True)]


def gather_arrays(fabric: Fabric, arrays: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The arrays of every process by name, by rank; lengths may differ, and nothing is pickled. All come here
    together.
    """
    kinds = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    described = [json.loads(text) for text in gather_texts(fabric, json.dumps(kinds))]
    data = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    sizes = [sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in each.values()) for each in described]
    padded = torch.zeros(max(1, *sizes), dtype=torch.uint8)
    padded[: len(data)] = torch.frombuffer(bytearray(data or b"\0"), dtype=torch.uint8)[: len(data)]
    rows = _gathered(fabric, padded.to(fabric.device)).cpu().numpy()
    gathered = []
    for row, each in zip(rows, described, strict=True):
        found, start = {}, 0
        for name, (kind, shape) in each.items():
            stop = start + np.dtype(kind).itemsize * math.prod(shape)
            found[name] = row[start:stop].copy().view(kind).reshape(shape)
            start = stop
        gathered.append(found)
    return gathered


def from_first(fabric: Fabric, job: Callable[[], str]) -> str:
    """Run `job` on rank 0 and broadcast its result, or its StriateError, to every process."""
    made = ""
    with raise_on_all_ranks(fabric):
        made = job() if fabric.is_global_zero else ""
    return gather_texts(fabric, made)[0]


@contextmanager
def raise_on_all_ranks(fabric: Fabric) -> Iterator[None]:
    """A StriateError of any process within is raised by all when the block ends, that of the lowest rank."""
    failure: StriateError | None = None
    try:
        yield
    except StriateError as error:
        failure = error
    if fabric.world_size == 1:
        if failure is not None:
            raise failure
        return
    own = "" if failure is None else json.dumps([type(failure).__name__, str(failure)])
    for text in gather_texts(fabric, own):
        if text:
            kind, line = json.loads(text)
            raise _KINDS[kind](line)


def rank_zero_first(fabric: Fabric, local_rank: int, job: Callable[[], T]) -> T:
    """`job` done by every process, after one on each machine has done it: the work that is kept is then done once."""
    made: list[T] = []
    for is_turn in (local_rank == 0, local_rank != 0):
        with raise_on_all_ranks(fabric):
            if is_turn:
                made.append(job())
    return made[0]


def check_same(fabric: Fabric, seen: Mapping[str, Any], where: str) -> None:
    """Raise RunError in every process, naming the first that differs, unless `seen` is the same in all.

    `seen` has a plain value for each thing that must be equal, by what a user would call it; `where` names the machine.
    """
    reports = [json.loads(text) for text in gather_texts(fabric, json.dumps([where, dict(seen)], sort_keys=True))]
    first_where, first = reports[0]
    for rank, (other_where, other) in enumerate(reports):
        for name, value in first.items():
            if other.get(name) != value:
                raise RunError(
                    f"process {rank} on {other_where} has other {name} than process 0 on {first_where}: "
                    f"{other.get(name)}, not {value}; give every process the same files, options and versions"
                )


@contextmanager
def naming_lost_processes(fabric: Fabric, advice: str) -> Iterator[None]:
    """A connection that breaks, because another process is gone, becomes a RunError that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or not _is_of_connection(error):
            raise
        raise RunError(
            f"process {fabric.global_rank} of {fabric.world_size} lost the others: one was killed, ran out of memory "
            f"or failed; {advice}"
        ) from error


def _is_of_connection(error: RuntimeError) -> bool:
    words = ("Connection closed", "Connection reset", "gloo", "NCCL", "Broken pipe", "connection")
    return isinstance(error, torch.distributed.DistError) or any(word in str(error) for word in words)


def _gathered(fabric: Fabric, own: Tensor) -> Tensor:
    """Every process's row: (n,) -> (P, n)."""
    parts = [torch.empty_like(own) for _ in range(fabric.world_size)]
    torch.distributed.all_gather(parts, own)
    return torch.stack(parts)
