"""CIFAR-10, from a copy saved as JPEG: how right after how many seconds from the start of the process.

    .venv/bin/python benchmarks/cifar10.py --data ../shared/data [--seeds 1] [--peers airbench airbench:8 torch]
    [--limit-s 1500]

striate: `striate train` with the default network for small colour images, airbench94; each the whole
command from an empty cache, the judgement on the 10,000 test images included. The peers (peers/cifar_*.py) are judged
after every epoch and stopped once they meet the target, are through, or have had `--limit-s` seconds; airbench:8 is its
recipe over eight epochs. Writes docs/results/cifar10.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from accuracy import RESULTS, surroundings

PEERS = Path(__file__).parent / "peers"
TARGET = 0.9
OWN: dict[str, tuple[str, ...]] = {
    "striate": ("--validation-fraction", "0.02"),
    "striate, 6 epochs": ("--epochs", "6", "--validation-fraction", "0.02"),
    "striate, SGD": ("--optimizer", "nesterov", "--epochs", "10", "--validation-fraction", "0.02"),
    "striate, 16 epochs": ("--epochs", "16", "--validation-fraction", "0.02"),
}


def main() -> None:
    """Measure everyone and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--own", nargs="*", default=list(OWN), choices=list(OWN))
    parser.add_argument("--peers", nargs="*", default=["airbench", "torch"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=1500.0)
    options = parser.parse_args()
    pictures = options.data.resolve() / "cifar10-jpeg.npz"
    path = RESULTS / "cifar10.json"
    runs: dict[str, list[dict[str, Any]]] = json.loads(path.read_text())["runs"] if path.exists() else {}
    for seed in range(options.seeds):
        for name in options.own:
            add(runs, name, own(pictures, seed, OWN[name]))
        for name in options.peers:
            add(runs, name, peer(pictures, seed, name, options.limit_s))


def add(runs: dict[str, list[dict[str, Any]]], name: str, run: dict[str, Any]) -> None:
    """One more run, in place of an earlier one of the same seed; everything known is written."""
    runs[name] = [each for each in runs.get(name, []) if each["seed"] != run["seed"]] + [run]
    print(name, json.dumps(run), flush=True)
    result = {
        **surroundings(),
        "target": TARGET,
        "commands": {name: " ".join(("striate train cifar10-jpeg.npz", *words)) for name, words in OWN.items()},
        "runs": runs,
    }
    (RESULTS / "cifar10.json").write_text(json.dumps(result, indent=1) + "\n")


def own(pictures: Path, seed: int, words: tuple[str, ...]) -> dict[str, Any]:
    """The whole command from an empty cache; then the same model judged by six views an image, timed by itself."""
    with tempfile.TemporaryDirectory() as folder:
        cache = os.environ | {"STRIATE_CACHE": str(Path(folder, "cache"))}

        def striate(*command: str) -> tuple[dict[str, Any], float]:
            began = time.perf_counter()
            line = [sys.executable, "-m", "striate", *command, "--json"]
            done = subprocess.run(line, stdout=subprocess.PIPE, check=True, cwd=folder, env=cache)
            return json.loads(done.stdout), time.perf_counter() - began

        run = str(Path(folder, "run"))
        trained, seconds = striate("train", str(pictures), *words, "--seed", str(seed), "--run", run)
        averaged, averaged_s = striate("evaluate", run, "--average", "six")
        mode = json.loads(Path(run, "run.json").read_text()).get("mode")
    return {
        "seed": seed,
        "seconds": seconds,
        "accuracy": trained["evaluation"]["top1_accuracy"],
        "six_views_accuracy": averaged["top1_accuracy"],
        "six_views_seconds": averaged_s,
        "mode": mode,
    }


def peer(pictures: Path, seed: int, name: str, limit_s: float) -> dict[str, Any]:
    """Every line that a peer's script printed in its time."""
    script, *epochs = name.split(":")
    command = [sys.executable, PEERS / f"cifar_{script}.py", pictures, str(TARGET), str(seed), *epochs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.terminate()
            output, _ = process.communicate()
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"epoch"')]
    met = [line["seconds"] for line in lines if line["accuracy"] >= TARGET]
    return {"seed": seed, "seconds": met[0] if met else None, "limit_s": limit_s, "lines": lines}


if __name__ == "__main__":
    main()
