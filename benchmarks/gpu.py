"""On a GPU: training and inference images/s beside torchvision's reference loop, CIFAR-10 beside the published airbench
script.

    python benchmarks/gpu.py train infer cifar --data ../shared/data --airbench CHECKOUT [--repeats 5] [--seeds 3]

`train`: each way makes its steps on one batch that lies on the device, all ways in turns, ten steps at a time.
torchvision's reference loop (references/classification/train.py) reads its loss and accuracies after every step.
`infer`: pixels (N, H, W, 3) uint8 in the processor's memory -> probabilities there. `cifar`: `striate train`, whole
commands and the seconds of its loop, and CHECKOUT/legacy/airbench94.py of github.com/KellerJordan/cifar10-airbench on
the same images, as often; the script counts its own seconds, without imports, data and evaluation. Writes
docs/results/gpu.json; where the page of speeds gets its table from.
"""

import argparse
import copy
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from accuracy import RESULTS, surroundings
from peers.common import npz_images
from striate import Choices, evaluate, load_model, train
from striate.data.preprocessing import Preprocessing
from striate.engines.engine import REFERENCE, EngineKind
from striate.engines.torch_engines import open_torch
from striate.networks.catalogue import CATALOGUE, build_network
from striate.recipes.devices import make_fabric
from striate.tasks.classification.loss import ClassificationLoss
from striate.tasks.model import Model
from striate.training.distributed.launch import Rank
from striate.training.frozen.layer_groups import layer_groups
from striate.training.optimizers import build_optimizer
from striate.training.recipe import OptimizerConfig
from striate.training.speed.autotune import compiled
from striate.training.speed.cuda_graphs import AsynchronousSteps
from striate.training.step import Batch

CUDA = torch.device("cuda")
TRAINING = {"resnet50": (224, 256), "resnet18_cifar": (32, 512), "airbench94_cifar": (32, 512)}
"""Network -> side in pixels and batch."""
ANSWERING = {"resnet50": (1, 32, 256), "mobilenet_v2": (1, 32, 256)}
STEPS = 10
MEANS, STDS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Measure the parts named and write each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=["train", "infer", "cifar"])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--airbench", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which takes a minute")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    result = json.loads(options.out.read_text()) if options.out.exists() else {}
    about = {**surroundings(), "gpu": torch.cuda.get_device_name(CUDA)}
    for part in options.parts:
        result[part] = {**about, **{"train": training, "infer": answering, "cifar": cifar}[part](options)}
        print(part, json.dumps(result[part], indent=1), flush=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def training(options: argparse.Namespace) -> dict[str, Any]:
    """Images/s of each way of training, network by network."""
    jobs = {}
    for name, (side, batch_size) in TRAINING.items():
        images = torch.randn(batch_size, 3, side, side, device=CUDA)
        targets = torch.randint(0, CATALOGUE[name].config.num_classes, (batch_size,), device=CUDA)
        network = build_network(name).to(CUDA)
        ways: dict[str, Callable[[], Any]] = {
            "torchvision's reference loop": reference_loop(network, images, targets, use_amp=False),
            "torchvision's reference loop, --amp": reference_loop(network, images, targets, use_amp=True),
            "eager bfloat16 channels last": tuned(network, images, targets, use_compile=False),
            "striate": own_steps(network, images, targets, use_compile=False),
        }
        if options.compile:
            ways["compiled bfloat16 channels last"] = tuned(network, images, targets, use_compile=True)
            ways["striate --compile"] = own_steps(network, images, targets, use_compile=True)
        seconds = take_turns(ways, options.repeats)
        macs = CATALOGUE[name].macs
        jobs[name] = {
            "side_px": side,
            "batch_size": batch_size,
            "images_per_s": {way: STEPS * batch_size / each for way, each in seconds.items()},
            "tflops": {way: 6e-12 * macs * STEPS * batch_size / each for way, each in seconds.items()},
        }
        del ways, network
        torch.cuda.empty_cache()
    return {"runs": options.repeats, "ceiling_bf16_tflops": ceiling(), "jobs": jobs}


def reference_loop(network: nn.Module, images: Tensor, targets: Tensor, *, use_amp: bool) -> Callable[[], None]:
    """What torchvision's references/classification/train.py does with each batch."""
    model = copy.deepcopy(network).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler("cuda") if use_amp else None
    criterion = nn.CrossEntropyLoss()

    def steps() -> None:
        for _ in range(STEPS):
            with torch.amp.autocast("cuda", enabled=use_amp):
                output = model(images)
                loss = criterion(output, targets)
            optimizer.zero_grad()
            if scaler is None:
                loss.backward()
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            with torch.inference_mode():
                _, predicted = output.topk(5, 1, True, True)
                hits = predicted.t().eq(targets[None])
                accuracies = [hits[:k].flatten().sum(dtype=torch.float32) for k in (1, 5)]
            loss.item()
            [each.item() for each in accuracies]

    return steps


def tuned(network: nn.Module, images: Tensor, targets: Tensor, *, use_compile: bool) -> Callable[[], None]:
    """As PyTorch's guide to performance has it: bfloat16, channels last, a fused optimiser, nothing waited for."""
    model = copy.deepcopy(network).train().to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, fused=True)
    code = torch.compile(model) if use_compile else model

    def steps() -> None:
        for _ in range(STEPS):
            with torch.autocast("cuda", torch.bfloat16):
                loss = cross_entropy(code(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return steps


def own_steps(network: nn.Module, images: Tensor, targets: Tensor, *, use_compile: bool) -> Callable[[], None]:
    """What `striate train` does with each batch by default on such a device; the figures of each step are read."""
    fabric = make_fabric(CUDA, "bf16-mixed", Rank())
    model = copy.deepcopy(network).train().to(memory_format=torch.channels_last)
    optimizer = build_optimizer(OptimizerConfig("nesterov", learning_rate=1e-4), layer_groups(model))
    wrapped = fabric.setup_module(compiled(model, use_compile), move_to_device=False)
    queue = AsynchronousSteps(
        wrapped, ClassificationLoss(), optimizer, fabric, max_grad_norm=math.inf, use_graphs=True, log=print
    )

    def steps() -> None:
        for number in range(STEPS):
            queue.update([Batch(images, targets)], seed=number, place="")
            for update in queue.done():
                update.result(wrapped)
        for update in queue.done(wait=True):
            update.result(wrapped)

    return steps


def answering(options: argparse.Namespace) -> dict[str, Any]:
    """Images/s of each way of answering, network by network and batch by batch."""
    found: dict[str, Any] = {}
    kinds = [
        REFERENCE,
        EngineKind("torch", "float32", "graph"),
        EngineKind("torch", "bfloat16", "graph"),
        EngineKind("torch", "float16", "graph"),
        EngineKind("torch", "float16", "channels_last"),
    ]
    kinds += [EngineKind("compile", "float16")] * options.compile
    for name, sizes in ANSWERING.items():
        network = build_network(name).eval().to(CUDA)
        names = tuple(map(str, range(1000)))
        model = Model(
            network,
            network_name=name,
            class_names=names,
            preprocessing=Preprocessing(3, 224, (224, 224), mean=MEANS, std=STDS),
        )
        found[name] = {}
        for size in sizes:
            pixels = np.random.default_rng(0).integers(0, 256, (size, 224, 224, 3), np.uint8)
            ways: dict[str, Callable[[], Any]] = {
                "torchvision's reference loop": evaluation_loop(network, pixels, use_amp=False),
                "torchvision's reference loop, autocast": evaluation_loop(network, pixels, use_amp=True),
            }
            for kind in kinds:
                engine = open_torch(model, kind, batch_size=size)
                ways[f"striate: {kind}"] = lambda engine=engine, pixels=pixels: engine.run(pixels)  # type: ignore[misc]
            seconds = take_turns(ways, options.repeats, each=3)
            found[name][str(size)] = {way: size / each for way, each in seconds.items()}
            del ways
            torch.cuda.empty_cache()
    return {"runs": options.repeats, "images_per_s": found}


def evaluation_loop(network: nn.Module, pixels: np.ndarray, *, use_amp: bool) -> Callable[[], None]:
    """The same images by torchvision's `evaluate`, prepared on the device, with probabilities brought back."""
    means = torch.tensor(MEANS, device=CUDA).view(3, 1, 1)
    stds = torch.tensor(STDS, device=CUDA).view(3, 1, 1)

    def run() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=use_amp):
            images = torch.from_numpy(pixels).to(CUDA, non_blocking=True).permute(0, 3, 1, 2).float().div(255)
            network((images - means) / stds).float().softmax(1).cpu()

    return run


def cifar(options: argparse.Namespace) -> dict[str, Any]:
    """Accuracy and seconds of both, seed by seed."""
    pictures = options.data.resolve() / "cifar10-jpeg.npz"
    with tempfile.TemporaryDirectory() as folder:
        theirs = published(pictures, Path(folder), options) if options.airbench else None
        os.environ["STRIATE_CACHE"] = str(Path(folder, "cache"))
        ours = {name: [] for name in OWN}
        for seed in range(-1, options.seeds):  # the first round packs the images and sets libraries up
            for name, choices in OWN.items():
                run = own_run(pictures, Path(folder, f"{name}-{seed}"), seed, choices)
                ours[name] += [run] if seed >= 0 else []
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "striate", "train", pictures, "--run", Path(folder, "whole"), "--json"],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        command_s = time.perf_counter() - began
    return {"striate": ours, "whole_command_s": command_s, "airbench94.py": theirs}


OWN = {
    "nesterov": Choices(optimizer="nesterov", epochs=10),
    "muon": Choices(optimizer="muon", epochs=8),
}


def own_run(pictures: Path, folder: Path, seed: int, choices: Choices) -> dict[str, Any]:
    """One run, without the start of a process: seconds of its loop with validation and all that is written, and of its
    updates.
    """
    run = train(
        pictures,
        replace(choices, seed=max(0, seed), validation_fraction=0.02),
        run=folder,
        run_checks=False,
        measure=False,
    )
    assert run.evaluation is not None
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    images = len(json.loads((folder / "splits.json").read_text())["train"])
    return {
        "seed": seed,
        "accuracy": run.evaluation.top1_accuracy,
        "six_views_accuracy": evaluate(load_model(folder, device=CUDA), average="six").evaluation.top1_accuracy,
        "loop_s": lines[-1]["elapsed_s"],
        "updates_s": sum(images / line["images_per_s"] for line in lines),
    }


def published(pictures: Path, folder: Path, options: argparse.Namespace) -> list[dict[str, float]]:
    """The published script as it is, but for the number of its runs, on the same images."""
    (folder / "cifar10").mkdir()
    for part in ("train", "test"):
        images, labels = npz_images(str(pictures), part)
        classes = [str(number) for number in range(10)]
        data = {"images": torch.from_numpy(images), "labels": torch.from_numpy(labels), "classes": classes}
        torch.save(data, folder / "cifar10" / f"{part}.pt")
    script = (options.airbench / "legacy" / "airbench94.py").read_text()
    (folder / "airbench94.py").write_text(script.replace("range(25)", f"range({options.seeds + 1})"))
    output = subprocess.run(
        [sys.executable, "airbench94.py"], stdout=subprocess.PIPE, text=True, check=True, cwd=folder
    ).stdout
    rows = [re.findall(r"[\w.]+", line) for line in output.splitlines() if line.startswith("|")]
    runs, single = [], math.nan
    for row in rows:
        if row[0] == "eval" or (len(row) > 1 and row[1] == "eval"):
            runs.append({"accuracy": single, "six_views_accuracy": float(row[-2]), "seconds": float(row[-1])})
        elif row[-1].replace(".", "").isdecimal():
            single = float(row[-2])
    return runs[1:]  # the first run sets libraries up


def take_turns(ways: Mapping[str, Callable[[], Any]], repeats: int, each: int = 1) -> dict[str, float]:
    """Median seconds of a call, every way in each round after two to warm up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-2, repeats):
        for name, way in ways.items():
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(each):
                way()
            torch.cuda.synchronize()
            if number >= 0:
                times[name].append((time.perf_counter() - began) / each)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def ceiling(size: int = 8192, repeats: int = 10) -> float:
    """TFLOP/s of the product of two square bfloat16 matrices, the best of several."""
    left, right = (torch.randn(size, size, device=CUDA, dtype=torch.bfloat16) for _ in range(2))
    best = math.inf
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        left @ right
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best / 1e12


if __name__ == "__main__":
    main()
