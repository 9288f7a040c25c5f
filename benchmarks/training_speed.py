"""Training images/s against PyTorch as it is usually run, and the share of the processor that is used.

    .venv/bin/python benchmarks/training_speed.py [--jobs resnet18-32 resnet18-224 ...] --data ../shared/data

Everyone trains the same network on the same batch with Nesterov momentum, step by step in turns, in one process: eager
float32, channels-last, bfloat16 by autocast, each also by torch.compile; and striate's own step in the mode that
`striate train` chooses by itself for a run of some length. Batches lie ready, so that only the step is timed. The
ceiling is that of a product of two large matrices in the same precision, measured in the same run; a step counts three
times the forward multiply-adds, two operations each. Writes docs/results/training-speed.json.
"""

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from accuracy import RESULTS, surroundings
from striate.cli.memory import keep_freed_memory
from striate.data.opening import Access
from striate.networks.entry import Entry
from striate.recipes.choices import Choices
from striate.recipes.defaults import default_num_threads
from striate.recipes.devices import make_fabric
from striate.recipes.mode_choice import with_fastest_mode
from striate.recipes.prepare import prepare
from striate.training.distributed.launch import Rank
from striate.training.frozen.layer_groups import layer_groups
from striate.training.loader import Loader
from striate.training.objective import objective_of
from striate.training.optimizers import build_optimizer
from striate.training.precision import has_fast_bf16
from striate.training.speed.autotune import Mode, compiled
from striate.training.step import train_step

CPU = torch.device("cpu")
OWN = "striate"
MATRIX = 2048
Step = Callable[[], Any]


@dataclass(frozen=True)
class Job:
    """A network on a source at one size."""

    network: str
    source: str
    size: int
    batch_size: int


JOBS = {
    "resnet18-32": Job("resnet18_cifar", "cifar10-jpeg.npz", 32, 128),
    "resnet18-224": Job("resnet18", "flowers", 224, 32),
    "mobilenet_v2-224": Job("mobilenet_v2", "flowers", 224, 32),
    "vgg11-224": Job("vgg11", "flowers", 224, 16),
    "resnet50-224": Job("resnet50", "flowers", 224, 16),
    "vgg16-224": Job("vgg16", "flowers", 224, 16),
}


def main() -> None:
    """Measure the jobs named and write each result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", nargs="+", choices=list(JOBS), default=list(JOBS))
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args()
    keep_freed_memory()
    warnings.simplefilter("ignore")
    out = RESULTS / "training-speed.json"
    result = json.loads(out.read_text()) if out.exists() else {}
    ceilings = {str(dtype).removeprefix("torch."): ceiling(dtype) for dtype in (torch.float32, torch.bfloat16)}
    print("GFLOP/s of a matrix product:", ceilings, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STRIATE_CACHE"] = folder
        for name in options.jobs:
            result[name] = {**surroundings(), "ceiling_gflops": ceilings, **trial(JOBS[name], options)}
            print(name, json.dumps(result[name]["lines"], indent=1), flush=True)
            out.write_text(json.dumps(result, indent=1) + "\n")


def trial(job: Job, options: argparse.Namespace) -> dict[str, Any]:
    """One job: everyone's median images/s."""
    choices = Choices(network=job.network, image_size=job.size, batch_size=job.batch_size, optimizer="nesterov", seed=0)
    prepared = prepare(str(options.data / job.source), choices, Access(), CPU)
    splits = prepared.splits
    loader = Loader(
        prepared.packed, prepared.annotations, splits.train, splits.validation, prepared.preprocessing, prepared.task
    )
    num_threads = default_num_threads(prepared.entry, torch.get_num_threads())
    prepared = replace(prepared, recipe=replace(prepared.recipe, num_threads=num_threads))
    make = partial(make_fabric, CPU, place=Rank())
    prepared, choice = with_fastest_mode(prepared, loader, choices, CPU, make, print)
    recipe = prepared.recipe
    mode = Mode(recipe.precision, recipe.use_channels_last, recipe.use_compile, recipe.num_threads)
    batch = loader.plain_batch(loader.train[: job.batch_size], CPU)
    rate = recipe.optimizer.learning_rate / 1000  # the same batch again and again must not blow up
    steps: dict[str, Step] = {}
    for dtype in (torch.float32, *([torch.bfloat16] if has_fast_bf16(CPU) else [])):
        for is_last in (False, True):
            for is_compiled in (False, *([] if options.no_compile else [True])):
                words = ["compiled" if is_compiled else "eager", str(dtype).removeprefix("torch.")]
                network = copy.deepcopy(prepared.network)
                name = " ".join(words + ["channels-last"] * is_last)
                steps[name] = usual_step(network, batch.images, batch.targets, rate, dtype, is_last, is_compiled)
    fabric = make(mode.precision)
    network = copy.deepcopy(prepared.network).train()
    if mode.use_channels_last:
        network.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(recipe.optimizer, layer_groups(network, head=prepared.entry.head))
    for group in optimizer.param_groups:
        group["lr"] = rate
    model = fabric.setup_module(compiled(network, mode.use_compile), move_to_device=False)
    loss_fn = objective_of(recipe, loader, CPU)
    steps[OWN] = lambda: train_step(model, [batch], loss_fn, optimizer, fabric, seed=0)
    speeds = {name: job.batch_size / seconds for name, seconds in take_turns(steps, options.repeats).items()}
    peers = {name: speed for name, speed in speeds.items() if name != OWN}
    fastest = max(peers, key=lambda name: peers[name])
    gflops = 6 * macs_at(prepared.entry, job.size) * speeds[OWN] / 1e9
    return {
        "batch_size": job.batch_size,
        "size": job.size,
        "runs": options.repeats,
        "mode": str(mode),
        "measured": None if choice is None else choice.to_json(),
        "lines": {
            "images_per_s": speeds,
            "fastest_peer": fastest,
            "of_fastest_peer": speeds[OWN] / peers[fastest],
            "of_eager_float32": speeds[OWN] / peers["eager float32"],
            "gflops": gflops,
        },
    }


def usual_step(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    rate: float,
    dtype: torch.dtype,
    is_last: bool,
    is_compiled: bool,
) -> Step:
    """A step as PyTorch's tutorials write it, with what its guide to performance adds."""
    network.train()
    if is_last:
        network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    else:
        images = images.contiguous()
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, nesterov=True)
    model = torch.compile(network, dynamic=False) if is_compiled else network

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            answer = model(images)
            loss = cross_entropy(answer if isinstance(answer, Tensor) else answer.logits, targets)
        loss.backward()
        optimizer.step()

    return step


def take_turns(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """Median seconds of a step, everyone once in each round after two to warm up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-2, repeats):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if number >= 0:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def macs_at(entry: Entry, size: int) -> int:
    """Multiply-adds of one image at its own size, with the head of the entry (a few classes less make no
    difference).
    """
    assert entry.input_size[1:] == (size, size)
    return entry.macs


def ceiling(dtype: torch.dtype, repeats: int = 15) -> float:
    """GFLOP/s of the product of two square matrices, the best of several."""
    left, right = (torch.randn(MATRIX, MATRIX).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - began)
    return 2 * MATRIX**3 / best / 1e9


if __name__ == "__main__":
    main()
