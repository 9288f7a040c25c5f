"""Runs in processes of their own: some are killed at any moment, some share the work.

A server imports this once and forks a clean process for each run.
"""

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch._dynamo  # slow, and the first optimiser imports it
from torch import nn

from striate.data import cache
from striate.data.augmentation_settings import Augmentation
from striate.data.sampling import batch_slice
from striate.errors import StriateError
from striate.layers.drop_path import DropPath
from striate.recipes.choices import Choices
from striate.recipes.devices import make_fabric
from striate.recipes.train import train
from striate.training import checkpoints
from striate.training.distributed import launch as launching
from striate.training.distributed.fsdp import all_whole
from striate.training.distributed.global_batch import GlobalBatch
from striate.training.recipe import OptimizerConfig, ScheduleConfig
from training_cases import cpu_fabric, full_recipe, tiny_recipe, train_tiny

RECIPES = {
    "nesterov with everything": full_recipe(),
    "adamw, gradual, plateau": full_recipe(
        optimizer=OptimizerConfig("adamw", learning_rate=0.01, weight_decay=0.1),
        schedule=ScheduleConfig("plateau", patience=0, factor=0.5),
        freeze="gradual",
        layer_rate_factor=0.3,
        use_class_weights=True,
    ),
    "muon, gradual": full_recipe(
        optimizer=OptimizerConfig("muon", learning_rate=0.05, use_unit_filters=True, other_rate_factor=0.5),
        freeze="gradual",
    ),
    "lbfgs": tiny_recipe(
        optimizer=OptimizerConfig("lbfgs", learning_rate=0.5),
        augmentation=Augmentation(flip=True, mixup=0.2),
        ema_decay=0.8,
        batch_size=15,
    ),
    "rmsprop in bfloat16": full_recipe(
        optimizer=OptimizerConfig("rmsprop", learning_rate=0.001), precision="bf16-mixed"
    ),
}


SHARED_RECIPES = {
    "everything random": full_recipe(use_balanced_sampling=False, use_class_weights=True, batch_size=9, epochs=2),
    "weights shared out": full_recipe(
        optimizer=OptimizerConfig("adamw", learning_rate=0.01, weight_decay=0.1), ema_decay=0.0, batch_size=9, epochs=2
    ),
    "weights shared out, muon": full_recipe(
        optimizer=OptimizerConfig("muon", learning_rate=0.05, weight_decay=0.1, use_unit_filters=True),
        ema_decay=0.0,
        batch_size=9,
        epochs=2,
    ),
    "gradual, three batches an update": tiny_recipe(
        optimizer=OptimizerConfig("momentum", learning_rate=0.05),
        use_class_weights=True,
        accumulate_steps=2,
        freeze="gradual",
        epochs=3,
        batch_size=9,
        ema_decay=0.9,
    ),
}
"""Runs that several processes share."""


def process_server():
    """What makes the processes; its `Process` takes a function of this file and its arguments."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with pytest.MonkeyPatch.context() as patch:  # the server does not take over sys.path, only its environment
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        multiprocessing.forkserver.ensure_running()
    return context


def session(run_dir, name, kill_at_write=None):
    """A process's work: go on with the run, checkpointing at every step; at the end, leave the weights beside it."""
    torch.set_num_threads(1)
    if kill_at_write is not None:
        kill_inside_write(kill_at_write)
    best = {}

    def on_best(weights, _epoch, _record):
        best.update({f"best.{key}": value.clone() for key, value in weights.items()})
        cache.write_atomically(run_dir / "best.safetensors", safetensors.torch.save(best))

    network, result = train_tiny(
        run_dir,
        RECIPES[name],
        fabric=cpu_fabric(precision=RECIPES[name].precision),
        resume=True,
        checkpoint_every_s=0.0,
        on_best=on_best,
    )
    if result.status == "finished":
        cache.write_atomically(run_dir / "final.safetensors", safetensors.torch.save(network.state_dict()))


def kill_inside_write(number):
    """The process dies in its `number`-th write of a checkpoint's file, after half of the bytes and before the
    rename.
    """
    count = 0
    real = checkpoints.write_atomically

    def write(path, data):
        nonlocal count
        count += 1
        if count == number:
            (path.parent / f".{path.name}.half.tmp").write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        real(path, data)

    checkpoints.write_atomically = write


class InDouble(nn.Module):
    """A network that computes with 53 bits and answers with 24: what differs by more than rounding has a reason."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, images):
        return self.network(images.double()).float()


def shared_network() -> nn.Module:
    """Batch norm, dropout and dropped paths: layers that look beyond one image, or draw numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return InDouble(
            nn.Sequential(
                nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), DropPath(0.3), nn.Dropout2d(0.2),
                nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.Tanh(), nn.Flatten(), nn.Dropout(0.2),
                nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3),
            )
        )  # fmt: skip


def shared_session(folder: Path, name: str, rank: int, world_size: int) -> None:
    """What each of the processes does that share a run, and then resume it when it is finished."""
    torch.set_num_threads(1)
    fabric = joined_fabric(folder, rank, world_size)
    recipe, run_dir = SHARED_RECIPES[name], folder / "run"
    network, result = train_tiny(run_dir, recipe, network=shared_network(), fabric=fabric, use_checks=True)
    assert result.status == "finished"
    safetensors.torch.save_file(network.state_dict(), folder / f"final-{rank}.safetensors")
    _, again = train_tiny(run_dir, recipe, network=shared_network(), fabric=fabric, resume=True)
    assert again.steps == result.steps
    torch.distributed.destroy_process_group()


def shared_resumed(folder: Path, run_dir: Path, name: str, rank: int, world_size: int) -> None:
    """What each process does that goes on with a shared run, checkpointing at every step."""
    torch.set_num_threads(1)
    fabric = joined_fabric(folder, rank, world_size)
    network, result = train_tiny(
        run_dir,
        SHARED_RECIPES[name],
        network=shared_network(),
        fabric=fabric,
        resume=True,
        checkpoint_every_s=0.0,
        use_sharding=name.startswith("weights shared out"),
    )
    weights = all_whole(network.state_dict())
    if result.status == "finished" and rank == 0:
        cache.write_atomically(run_dir / "final.safetensors", safetensors.torch.save(weights))
    torch.distributed.destroy_process_group()


NORMS = {
    f"{dtype} {layout} {'with' if affine else 'without'} weights".replace("torch.", ""): (dtype, layout, affine)
    for dtype in (torch.float64, torch.float32, torch.bfloat16)
    for layout in ("rows", "signals", "maps", "channels last", "volumes")
    for affine in (True, False)
}


def norm_results(name: str, images: slice) -> dict[str, torch.Tensor]:
    """What a batch norm makes of these of 9 images, by name: the output, its gradients, and the running statistics."""
    dtype, layout, affine = NORMS[name]
    kind, shape = {
        "rows": (nn.BatchNorm1d, ()),
        "signals": (nn.BatchNorm1d, (7,)),
        "volumes": (nn.BatchNorm3d, (2, 3, 3)),
    }.get(layout, (nn.BatchNorm2d, (4, 3)))
    generator = torch.Generator().manual_seed(len(name))
    norm = kind(5, affine=affine, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    if affine:
        nn.init.uniform_(norm.weight, 0.5, 2, generator=generator)
        nn.init.uniform_(norm.bias, -1, 1, generator=generator)
    values, output_grad = torch.randn((2, 9, 5, *shape), generator=generator, dtype=torch.float64)
    values[:4] += 2  # so each process alone would have other statistics
    x = values[images].to(dtype)
    if layout == "channels last":
        x = x.contiguous(memory_format=torch.channels_last)
    output = norm(x.requires_grad_())
    output.backward(output_grad[images].to(dtype))
    results = {"output": output.detach(), "input": x.grad, "mean": norm.running_mean, "var": norm.running_var}
    return results | {f"{key} grad": param.grad for key, param in norm.named_parameters()}


def norms_together(folder: Path, rank: int, world_size: int) -> None:
    """Every norm on this process's share of 9 images; leaves the results."""
    joined_fabric(folder, rank, world_size).launch()
    share = batch_slice(9, rank, world_size)
    results = {}
    for name in NORMS:
        with GlobalBatch(share):
            parts = norm_results(name, slice(share.start, share.stop))
        results |= {f"{name}: {key}": value.contiguous() for key, value in parts.items()}
    safetensors.torch.save_file(results, folder / f"norms-{rank}.safetensors")
    torch.distributed.destroy_process_group()


def train_where_it_stands(folder: Path, parent: Path, rank: int, world_size: int) -> None:
    """Each process trains on `images` in the folder of its own number, and leaves the error that it ends with."""
    torch.set_num_threads(1)
    _take_place(folder, rank, world_size)
    os.chdir(parent / str(rank))
    os.environ["STRIATE_CACHE"] = str(folder / "cache")
    try:
        train("images", Choices(epochs=1, batch_size=4, network="lenet5"), run=folder / "run", device="cpu")
    except StriateError as error:
        (folder / f"error-{rank}").write_text(f"{type(error).__name__}: {error}")


def joined_fabric(folder: Path, rank: int, world_size: int):
    """This process's part in the company of all, as `striate train --devices` makes it."""
    _take_place(folder, rank, world_size)
    return make_fabric(torch.device("cpu"), "32-true", launching.current_rank())


def _take_place(folder: Path, rank: int, world_size: int) -> None:
    os.environ |= {launching.MEETING_PLACE: str(folder), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"}
    os.environ |= {"WORLD_SIZE": str(world_size), "LOCAL_WORLD_SIZE": str(world_size)}
