"""Devices, processes and threads of a run."""

import atexit
import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy

from striate.data.opening import Access
from striate.data.parallel import num_processors
from striate.errors import InputError
from striate.progress import log_nothing, track_silently
from striate.tasks.model import pick_device
from striate.training.distributed.launch import Rank, num_restarts, rendezvous_folder
from striate.training.recipe import Precision, check_precision

PATIENCE = timedelta(days=7)
"""Timeout of a process that waits for another: one may decode a large collection while the others wait. That a process
is gone is noticed at once, by the connection it leaves.
"""
_LOGS = ("lightning_fabric", "lightning_fabric.utilities.rank_zero", "lightning_fabric.utilities.distributed")


def check_device(device: str, precision: str | None, place: Rank) -> torch.device:
    """The device asked for. InputError where this machine has none such, too few, or the precision needs another."""
    found = pick_device(device)
    if check_precision(precision or "32-true") == "16-mixed" and found.type == "cpu":
        raise InputError(
            "float16 needs a GPU, which scales small gradients; on the CPU use --precision bfloat16 or float32"
        )
    if found.type == "mps" and place.world_size > 1:
        raise InputError("several processes cannot share an Apple GPU; leave --devices out, or use --device cpu")
    if found.type == "cuda" and torch.cuda.device_count() < place.local_world_size:
        raise InputError(
            f"{place.local_world_size} processes need a GPU each but this machine has {torch.cuda.device_count()}; "
            "start fewer, or use --device cpu"
        )
    return torch.device("cuda", place.local_rank) if found.type == "cuda" and place.world_size > 1 else found


def make_fabric(device: torch.device, precision: Precision, place: Rank) -> Fabric:
    """One process on this device, or this process's part in the company of all, which are then met."""
    accelerator = {"cuda": "gpu"}.get(device.type, device.type)
    with _quiet_logs():
        if place.world_size == 1:
            # its own guess would be that a scheduler's variables (SLURM, LSF) tell of processes to wait for
            alone = LightningEnvironment()
            fabric = Fabric(accelerator=accelerator, devices=1, precision=precision, plugins=alone)
        else:
            _meet(device, place)
            fabric = Fabric(
                accelerator=accelerator,
                devices=place.local_world_size,
                num_nodes=place.num_nodes,
                precision=precision,
                # every process keeps buffers equal by itself: see training/distributed/global_batch.py
                strategy=DDPStrategy(timeout=PATIENCE, broadcast_buffers=False),
                plugins=[TorchElasticEnvironment()],
            )
        fabric.launch()
    return fabric


def quiet_beside_first(access: Access, place: Rank) -> Access:
    """The access, silent in every process but the first."""
    return access if place.rank == 0 else dataclasses.replace(access, log=log_nothing, track=track_silently)


def threads_per_process(place: Rank) -> int:
    """Number of threads for this process, divided among the processes of this machine; at least one."""
    return max(1, min(torch.get_num_threads(), num_processors()) // place.local_world_size)


@contextmanager
def threads(num_threads: int) -> Iterator[None]:
    """Compute with so many threads: sums in another order would round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _meet(device: torch.device, place: Rank) -> None:
    """Join the other processes. Those of torchrun meet at its store, each start anew under a name of its own: torchrun
    keeps the store when it starts them again (its static rendezvous, torch 2.14), and PyTorch's own way would read
    there the addresses of the dead and wait for them. Those of `launching.launch` meet over a file: a port could be
    taken by somebody else before it is opened.
    """
    if torch.distributed.is_initialized():
        return
    folder = rendezvous_folder()
    if folder is None:
        kept, _, _ = next(torch.distributed.rendezvous("env://", timeout=PATIENCE))
        store: torch.distributed.Store = torch.distributed.PrefixStore(f"striate/start_{num_restarts()}", kept)
    else:
        store = torch.distributed.FileStore(str(folder / "store"), place.world_size)
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=place.rank,
        world_size=place.world_size,
        timeout=PATIENCE,
        device_id=None if device.type == "cpu" else device,
    )
    atexit.register(_part)


def _part() -> None:
    """Leave the company before the interpreter ends; when another process has failed there may be nothing to leave."""
    if torch.distributed.is_initialized():
        with suppress(RuntimeError):
            torch.distributed.destroy_process_group()


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Fabric would print lines on processes and 16-bit arithmetic, which the run's own line tells."""
    logs = [logging.getLogger(name) for name in _LOGS]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
