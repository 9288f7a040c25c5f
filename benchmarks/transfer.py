"""A new head on real SqueezeNet weights, 20 epochs: seconds and accuracy against the usual ways.

    .venv/bin/python benchmarks/transfer.py --data ../shared/data --peers-python PYTHON [--seeds 5]

`--peers-python`: an interpreter with fastai. Peers follow their own tutorials (peers/transfer_*.py); timm's train.py is
not in its package: the variable TIMM_TRAIN names it in a checkout, or leave it out by `--peers torch fastai`. striate's
time is that of the whole command, from an empty cache, with the report. The weights are rewritten for the usual
preparation of images, so that nobody is at a loss. Everyone is judged on the same validation images, takes turns, and
counts imports. Writes docs/results/transfer.json, with `--freeze lower`, where the last third of the base is trained
too, transfer-lower.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import striate
from accuracy import RESULTS, SQUEEZENET, surroundings

PEERS = Path(__file__).parent / "peers"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Measure everyone on both sets and write after each round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--peers", nargs="*", default=["torch", "fastai", "timm"], help="NAME or NAME:SEEDS")
    parser.add_argument("--sets", nargs="+", default=["hymenoptera", "flowers"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--freeze", default="base", help="base, or lower: the last third of the base is trained too")
    options = parser.parse_args()
    result: dict[str, Any] = {**surroundings(), "epochs": options.epochs, "freeze": options.freeze, "sets": {}}
    results = RESULTS / ("transfer.json" if options.freeze == "base" else f"transfer-{options.freeze}.json")
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "squeezenet1_0.pth")
        torch.save(usual_weights(striate.load_model(f"squeezenet1_0:{options.data / SQUEEZENET}")), weights)
        for name in options.sets:
            source = (options.data / name).resolve()
            runs: dict[str, list[dict[str, Any]]] = {}
            for seed in range(options.seeds):
                runs.setdefault("striate", []).append(own(source, weights, options, Path(folder), seed))
                for each, _, seeds in (words.partition(":") for words in options.peers):
                    if seed < int(seeds or options.seeds):
                        runs.setdefault(each, []).append(peer(each, source, weights, options, seed))
                print(
                    name,
                    json.dumps({each: found[seed] for each, found in runs.items() if seed < len(found)}),
                    flush=True,
                )
                result["sets"][name] = summary(runs)
                results.write_text(json.dumps(result, indent=1) + "\n")


def usual_weights(model: striate.Model) -> dict[str, torch.Tensor]:
    """The weights for images prepared as everyone's tutorials do; these were trained on others (Caffe's: 0..255, BGR).

    What one preparation makes of a pixel is a straight line of what the other makes of it, and the first layer, which
    has no padding, takes it in.
    """
    state, own = dict(model.network.state_dict()), model.preprocessing
    weight, mean, std = state["features.0.weight"], torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    order = [2, 1, 0] if own.channel_order == "BGR" else [0, 1, 2]
    gain = 255 * own.scale * std[order] / torch.tensor(own.std)
    offset = (255 * own.scale * mean[order] - torch.tensor(own.mean)) / torch.tensor(own.std)
    state["features.0.bias"] = state["features.0.bias"] + (weight.sum((2, 3)) * offset).sum(1)
    state["features.0.weight"] = (weight * gain.view(1, 3, 1, 1))[:, order]  # either order is its own inverse
    return state


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of everyone, and how many times as fast striate is as the fastest peer.

    Runs without seconds, made while others ran too, count for accuracy alone.
    """
    medians = {
        name: {key: statistics.median(each[key] for each in found if key in each) for key in ("seconds", "accuracy")}
        for name, found in runs.items()
    }
    others = [each["seconds"] for name, each in medians.items() if name != "striate"]
    times = min(others) / medians["striate"]["seconds"] if others else None
    return {"medians": medians, "times_as_fast_as_fastest_peer": times, "runs": runs}


def own(source: Path, weights: Path, options: argparse.Namespace, folder: Path, seed: int) -> dict[str, Any]:
    """The whole command, from an empty cache."""
    name = f"{source.name}-{seed}"
    words = ["train", source, "--network", "squeezenet1_0", "--weights", weights, "--freeze", options.freeze]
    words += ["--epochs", options.epochs, "--seed", seed, "--run", folder / f"run-{name}", "--json"]
    began = time.perf_counter()
    done = subprocess.run(
        ["env", f"STRIATE_CACHE={folder / f'cache-{name}'}", sys.executable, "-m", "striate", *map(str, words)],
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds = time.perf_counter() - began
    answer = json.loads(done.stdout)
    figures = answer["evaluation"]
    return {"seed": seed, "seconds": seconds, "accuracy": figures["top1_accuracy"], "num_images": figures["num_images"]}


def peer(name: str, source: Path, weights: Path, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """A peer's script, with two workers for loading as the machine has two cores."""
    words = [options.peers_python, PEERS / f"transfer_{name}.py", source, weights, options.epochs, seed, 2]
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, text=True, check=True)
    return {"seed": seed, **json.loads(done.stdout.splitlines()[-1])}


if __name__ == "__main__":
    main()
