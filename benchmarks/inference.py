"""Does striate choose the fastest engine on this machine by itself, and how far is it from the best that each one
offers?

.venv/bin/python benchmarks/inference.py --networks squeezenet1_0 resnet18 --batches 1 8 32 --repeats 15

For every network (random weights, so speed only) the peers are set up as each one's own documentation tells a user,
without striate's engines: torch eager, channels-last, compiled with frozen weights; ONNX Runtime's defaults; OpenVINO
with the hints for latency and for throughput; each in float32 and, where the processor has it, bfloat16. PyTorch's
default, eager in float32, runs in a process of its own, where the C library hands freed memory back, as in everybody's
script; all others keep it, as striate's commands do. striate's own line is what `--engine auto` takes after `bench`.
Everyone takes turns, batch by batch. Writes docs/results/inference.json.

With --source, real images, 16-bit engines that agree on them can be chosen too; with --model the same for trained
weights, and with
--epochs every network is first trained on the source by `striate train`, so that its answers mean something.
`of_fastest` compares with all peers whether their answers agree or not.
"""

import argparse
import gc
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

import striate
from striate.cli.memory import keep_freed_memory
from striate.data.preprocessing import Preprocessing
from striate.engines.bench_target import bench_target_of
from striate.engines.benching import measure_target, samples_for
from striate.engines.candidates import candidates
from striate.engines.choosing import choose
from striate.engines.engine import num_threads
from striate.engines.hardware import this_machine
from striate.engines.measuring import SLOW_NETWORK_S, Plan
from striate.export.graph import PixelsToProbabilities
from striate.export.onnx_file import write_onnx
from striate.networks.catalogue import build_network, entry_for
from striate.tasks.model import Model, save_model
from striate.training.precision import has_fast_bf16

sys.path.insert(0, str(Path(__file__).parent))
from accuracy import RESULTS, surroundings

NETWORKS = ("squeezenet1_0", "resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "vgg16")
OWN, DEFAULT = "striate auto", "torch eager float32"
REST_S, IN_A_ROW, LONG_S = 0.05, 3, 0.5
"""Threads of whoever ran before still spin for a while; so everyone waits, runs once uncounted, and then up to thrice
in a row.
"""
FEWEST_TURNS, ENOUGH_S = 3, 4.0
Run = Callable[[np.ndarray], Any]


def main() -> None:
    """Measure every network asked for and write the results after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--budget", type=float, help="seconds of striate bench for each network; as many as it takes without"
    )
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--int8", action="store_true", help="measure an 8-bit copy too; it is never chosen by itself")
    parser.add_argument("--model", help="a trained MODEL instead of the networks")
    parser.add_argument("--source", help="real images to agree on, 400 or more for 16 bits")
    parser.add_argument("--epochs", type=int, help="train the networks on --source for so long first")
    parser.add_argument("--out", type=Path, default=RESULTS / "inference.json")
    options = parser.parse_args()
    if options.epochs and not options.source:
        parser.error("--epochs needs --source, the photos to train on")
    keep_freed_memory()
    warnings.simplefilter("ignore")
    torch.set_num_threads(num_threads())
    result: dict[str, Any] = {
        **surroundings(),
        "repeats": options.repeats,
        "engines_machine": this_machine(),
        "networks": [],
    }
    for name in [options.model] if options.model else options.networks:
        model, accuracy = striate.load_model(name) if options.model else fresh_model(name), None
        if options.epochs:
            model, accuracy = trained_model(name, options.source, options.epochs)
        result["networks"].append({**trial(model, options), "validation_accuracy": accuracy})
        options.out.write_text(json.dumps(result, indent=1) + "\n")
        gc.collect()


def fresh_model(name: str) -> Model:
    """A network of the catalogue with random weights, at its own input size."""
    entry = entry_for(name)
    channels, height, width = entry.input_size
    preprocessing = entry.usual_preprocessing or Preprocessing(
        channels, max(height, width), (height, width), (0.5,) * channels, (0.25,) * channels
    )
    names = tuple(f"class {number}" for number in range(entry.config.num_classes))
    return Model(
        build_network(name, seed=0).eval(),
        network_name=name,
        network_config=asdict(entry.config),
        class_names=names,
        preprocessing=preprocessing,
    )


def trained_model(name: str, source: str, epochs: int) -> tuple[Model, float]:
    """That network after some epochs on the source, from random weights; and its validation accuracy."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", source, "--network", name, "--epochs", str(epochs), "--image-size", "224"]
        command = [sys.executable, "-m", "striate", *words, "--run", f"{folder}/run", "--no-checks", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        accuracy = json.loads(done.stdout)["evaluation"]["top1_accuracy"]
        print(f"{name}: {100 * accuracy:.1f} % after {epochs} epochs", flush=True)
        return striate.load_model(f"{folder}/run"), accuracy


def trial(model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """One network: what striate chose for each batch size, and every peer beside it."""
    target = bench_target_of(model)
    samples = samples_for(model, options.source, 500, print)
    plan = Plan(batch_sizes=tuple(options.batches), repeats=options.repeats, longest_s=SLOW_NETWORK_S)
    if options.budget is not None:
        plan = replace(plan, budget_s=options.budget, longest_s=0.0)
    kinds = [kind for kind in candidates(use_int8=options.int8) if not (options.no_compile and kind.name == "compile")]
    began = time.perf_counter()
    bench = measure_target(target, samples, kinds, plan)
    bench_s = time.perf_counter() - began
    lines: list[dict[str, Any]] = []
    for batch_size in options.batches:
        row = choose(bench.rows, batch_size)
        assert row is not None
        pixels = samples.pixels[np.arange(batch_size) % len(samples.pixels)]
        with tempfile.TemporaryDirectory() as folder, DefaultEager(model, Path(folder)) as default_eager:
            runs = {DEFAULT: default_eager, **peers(model, Path(folder), use_compile=not options.no_compile)}
            runs[OWN] = target.open_row(row, batch_size).run
            lines.append({"chosen": str(row.kind), **line(batch_size, *take_turns(runs, pixels, options.repeats))})
        print(model.network_name, json.dumps(lines[-1]), flush=True)
    measured = bench.to_json()
    measured["images"] = Path(measured["images"]).name
    return {"network": model.network_name, "bench_s": bench_s, "bench": measured, "lines": lines}


def line(batch_size: int, times: dict[str, float], failed: dict[str, str]) -> dict[str, Any]:
    """Images a second of everyone, and striate's share of the fastest float32 peer's and of the fastest of all."""
    speeds = {name: batch_size / seconds for name, seconds in times.items()}
    rivals = {name: speed for name, speed in speeds.items() if name != OWN}
    exact = {name: speed for name, speed in rivals.items() if "bfloat16" not in name}
    return {
        "batch_size": batch_size,
        "images_per_s": speeds,
        "failed": failed,
        "fastest": max(rivals, key=lambda name: rivals[name]),
        "of_fastest": speeds[OWN] / max(rivals.values()),
        "fastest_float32": max(exact, key=lambda name: exact[name]),
        "of_fastest_float32": speeds[OWN] / max(exact.values()),
    }


def take_turns(runs: dict[str, Run], pixels: np.ndarray, repeats: int) -> tuple[dict[str, float], dict[str, str]]:
    """Median seconds of a batch, everyone in each round; and why those that fail do."""
    times: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    for name, run in runs.items():
        try:
            run(pixels)
            run(pixels)
            times[name] = []
        except Exception as error:  # a peer that does not run is said, not fatal
            failed[name] = " ".join(str(error).split())[:200]
    for number in range(repeats):
        for name, seconds in times.items():
            if number >= FEWEST_TURNS and sum(seconds) > ENOUGH_S:
                continue
            time.sleep(REST_S)
            runs[name](pixels)
            for _ in range(IN_A_ROW):
                began = time.perf_counter()
                runs[name](pixels)
                seconds.append(time.perf_counter() - began)
                if seconds[-1] > LONG_S:
                    break
    return {name: statistics.median(seconds) for name, seconds in times.items()}, failed


def peers(model: Model, folder: Path, *, use_compile: bool) -> dict[str, Run]:
    """Everyone's usual way, by name."""
    dtypes = [torch.float32, *([torch.bfloat16] if has_fast_bf16(torch.device("cpu")) else [])]
    runs: dict[str, Run] = {}
    for dtype in dtypes:
        name = str(dtype).removeprefix("torch.")
        module = PixelsToProbabilities(model, resize=False)
        if dtype != torch.float32:
            runs[f"torch eager {name}"] = in_torch(module, dtype, is_channels_last=False)
        last = PixelsToProbabilities(model, resize=False)
        last.to(memory_format=torch.channels_last)
        runs[f"torch channels-last {name}"] = in_torch(last, dtype, is_channels_last=True)
        if use_compile:
            compiled = torch.compile(last, dynamic=False, options={"freezing": True})
            runs[f"torch compiled {name}"] = in_torch(compiled, dtype, is_channels_last=True)
    write_onnx(model, folder / "model.onnx", resize=False)
    return runs | onnx_peers(folder / "model.onnx", [str(dtype).removeprefix("torch.") for dtype in dtypes])


def in_torch(module: Callable[..., Any], dtype: torch.dtype, *, is_channels_last: bool) -> Run:
    """Without gradients, and with autocast for short types, as torch's guide to performance has it.

    Images come as channels last in memory; who does not want that hands them over in the other layout.
    """

    def run(pixels: np.ndarray) -> Any:
        images = torch.from_numpy(pixels)
        if not is_channels_last:  # the module turns (N, H, W, C) round, which makes this contiguous (N, C, H, W)
            images = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return module(images)

    return run


class DefaultEager:
    """PyTorch's default in a process of its own; called with pixels it computes and waits, which costs a tenth of a
    millisecond.
    """

    def __init__(self, model: Model, folder: Path) -> None:
        path = folder / "model.safetensors"
        save_model(model, path)
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=serve_eager, args=(other, str(path)), daemon=True)
        self.pixels: np.ndarray | None = None

    def __enter__(self) -> "DefaultEager":
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.send("end")
        self.process.join()

    def __call__(self, pixels: np.ndarray) -> None:
        if self.pixels is not pixels:
            self.connection.send(pixels)
            self.pixels = pixels
        self.connection.send("run")
        self.connection.recv()


def serve_eager(connection: Connection, path: str) -> None:
    """The other process: computes on the last pixels received, as often as it is told to."""
    torch.set_num_threads(num_threads())
    run = in_torch(PixelsToProbabilities(striate.load_model(path), resize=False), torch.float32, is_channels_last=False)
    pixels = np.zeros(0)
    while isinstance(message := connection.recv(), np.ndarray) or message == "run":
        if isinstance(message, np.ndarray):
            pixels = message
        else:
            connection.send(len(run(pixels)))


def onnx_peers(path: Path, precisions: list[str]) -> dict[str, Run]:
    """ONNX Runtime and OpenVINO at their defaults but for the number of threads, the precision and the hint."""
    import onnxruntime
    import openvino

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    runs: dict[str, Run] = {"onnxruntime float32": lambda pixels: session.run(None, {"images": pixels})}
    core = openvino.Core()
    for precision in precisions:
        for hint in ("LATENCY", "THROUGHPUT"):
            settings = {
                "PERFORMANCE_HINT": hint,
                "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
                "INFERENCE_NUM_THREADS": num_threads(),
            }
            compiled = core.compile_model(str(path), "CPU", settings)
            runs[f"openvino {hint.lower()} {precision}"] = queued(compiled) if hint == "THROUGHPUT" else compiled
    return runs


def queued(compiled: Any) -> Run:
    """OpenVINO's queue of requests, the batch shared out over them."""
    import openvino

    queue = openvino.AsyncInferQueue(compiled)

    def run(pixels: np.ndarray) -> None:
        for part in np.array_split(pixels, min(len(queue), len(pixels))):
            queue.start_async({"images": part})
        queue.wait_all()

    return run


if __name__ == "__main__":
    main()
