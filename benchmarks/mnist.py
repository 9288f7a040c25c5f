"""MNIST to 99.0 % of the test images right, in seconds from the start of the process, imports included.

    .venv/bin/python benchmarks/mnist.py --data ../shared/data --peers-python PYTHON [--seeds 3]

`--peers-python`: an interpreter with keras (and tensorflow, its default), lightning and fastai. Peers train as their
own examples do (peers/mnist_*.py), are judged on the test images after every epoch and end with the first that meets
the target. striate's time is that of the whole command, from an empty cache, with packing, splits, training, the
judgement on the test images and the report; it has to meet the target with the number of epochs that it was told. The
same again with the images packed and the modes measured is a line of its own. Everyone takes turns. Writes
docs/results/mnist-to-99.json, where earlier runs of others, and of other seeds, are kept.

striate's network for such images, digitnet, was made and its recipe chosen on the validation part of MNIST.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from accuracy import RESULTS, surroundings

PEERS = Path(__file__).parent / "peers"
OUT = RESULTS / "mnist-to-99.json"
TARGET = 0.99
OURS, AGAIN = "striate", "striate, packed before"
OWN = ("train", "mnist", "--epochs", "1", "--json")


def main() -> None:
    """Measure everyone and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--peers-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--own", nargs="*", default=[OURS, AGAIN], choices=[OURS, AGAIN])
    parser.add_argument("--peers", nargs="*", default=["torch", "keras", "lightning", "fastai"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--peer-seeds", type=int, default=1, help="seeds of all peers; further ones only of --peers-always"
    )
    parser.add_argument("--peers-always", nargs="*", default=["keras"], help="of whom to take every seed: the fastest")
    options = parser.parse_args()
    digits = options.data.resolve() / "mnist"
    runs: dict[str, list[dict[str, Any]]] = json.loads(OUT.read_text())["runs"] if OUT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            others = options.peers if seed < options.peer_seeds else options.peers_always
            for name in (*options.own, *others):
                if name in (OURS, AGAIN):
                    run = own(digits, Path(folder), seed, name)
                else:
                    source = pngs(digits, Path(folder) / "png") if name == "fastai" else digits
                    run = peer(name, source, seed, options.peers_python)
                runs[name] = [each for each in runs.get(name, []) if each["seed"] != seed] + [run]
                print(name, json.dumps(run), flush=True)
                write(runs)


def write(runs: dict[str, list[dict[str, Any]]]) -> None:
    """What is known so far."""
    medians = {name: statistics.median(each["seconds"] for each in found) for name, found in runs.items()}
    fastest = min((name for name in medians if name not in (OURS, AGAIN)), key=lambda name: medians[name], default=None)
    result = {
        **surroundings(),
        "target": TARGET,
        "command": "striate " + " ".join(OWN),
        "median_seconds": medians,
        "fastest_peer": fastest,
        "times_as_fast": medians[fastest] / medians[OURS] if fastest else None,
        "runs": runs,
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


def own(digits: Path, folder: Path, seed: int, name: str) -> dict[str, Any]:
    """The whole command, with a cache of its own for each seed."""
    words = [*OWN, "--data-dir", str(digits), "--seed", str(seed), "--run", str(folder / f"run-{seed}-{name}")]
    cache = os.environ | {"STRIATE_CACHE": str(folder / f"cache-{seed}")}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "striate", *words], stdout=subprocess.PIPE, check=True, cwd=folder, env=cache
    )
    seconds = time.perf_counter() - began
    reached = json.loads(done.stdout)["evaluation"]["top1_accuracy"]
    return {"seed": seed, "seconds": seconds, "accuracy": reached, "is_met": reached >= TARGET}


def peer(name: str, source: Path, seed: int, python: Path) -> dict[str, Any]:
    """The last line that a peer's script printed."""
    command = [python, PEERS / f"mnist_{name}.py", source, str(TARGET), str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    last = json.loads([line for line in done.stdout.splitlines() if line.startswith('{"epoch"')][-1])
    return {"seed": seed, **last, "is_met": last["accuracy"] >= TARGET}


def pngs(digits: Path, folder: Path) -> Path:
    """The same digits as PNG files in folders; made once, not timed."""
    sys.path.insert(0, str(PEERS))
    from common import idx_arrays

    for part, name in (("train", "training"), ("t10k", "testing")):
        if (folder / name).exists():
            continue
        for number, (pixels, label) in enumerate(zip(*idx_arrays(str(digits), part), strict=True)):
            place = folder / name / str(label)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{number:05}.png")
    return folder


if __name__ == "__main__":
    main()
