"""How accurate do runs with the defaults become, and how long do they take? Every run is a real `striate` command.

.venv/bin/python benchmarks/accuracy.py --data ../shared/data --seeds 3 digits mnist hymenoptera flowers cifar10
imagenet-photos

Each job's figures go to docs/results/accuracy-JOB.json (commit, machine, versions, every run), and
docs/results/classification.md is written anew from all of them. Plain baselines of the same data stand beside: the same
network from scratch, published errors.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
SQUEEZENET = "squeezenet-v1.0-deep-compressed/compressed_SqueezeNet.net"


@dataclass(frozen=True)
class Job:
    """One row of the table: a command with {data} in place of the folder of real images; `what` says what it shows.

    With `average` the trained model is also judged by answers averaged over so many views of each image.
    """

    name: str
    what: str
    words: tuple[str, ...]
    is_training: bool = True
    average: str | None = None


REAL = ("--weights", f"{{data}}/{SQUEEZENET}")
SCRATCH = ("--network", "squeezenet1_0")
ANTS, FLOWERS = ("train", "{data}/hymenoptera"), ("train", "{data}/flowers")
CIFAR = (
    "train",
    "{data}/cifar10-jpeg.npz",
    "--network",
    "airbench95_cifar",
    "--epochs",
    "30",
    "--cutout",
    "12",
    "--shift",
    "3",
    "--validation-fraction",
    "0.02",
)
PHOTOS = ("evaluate", f"squeezenet1_0:{{data}}/{SQUEEZENET}", "{data}/imagenet-samples")
JOBS = {
    "digits": (Job("digits", "digitnet, scikit-learn's digits", ("train", "digits")),),
    "mnist": (Job("mnist", "digitnet, MNIST", ("train", "mnist", "--data-dir", "{data}/mnist")),),
    "hymenoptera": (Job("hymenoptera-transfer", "ants and bees, head on real SqueezeNet weights", ANTS + REAL),),
    "hymenoptera-scratch": (Job("hymenoptera-scratch", "ants and bees, SqueezeNet from scratch", ANTS + SCRATCH),),
    "flowers": (
        Job("flowers-transfer", "five flowers, head on real SqueezeNet weights", FLOWERS + REAL),
        Job("flowers-lower", "five flowers, the last third too", FLOWERS + REAL + ("--freeze", "lower")),
    ),
    "flowers-scratch": (Job("flowers-scratch", "five flowers, SqueezeNet from scratch", FLOWERS + SCRATCH),),
    "cifar10": (Job("cifar10", "airbench95, CIFAR-10 (JPEG copy)", CIFAR, average="six"),),
    "imagenet-photos": (
        Job("imagenet-photos", "deep-compressed SqueezeNet, 500 ImageNet photos", PHOTOS, is_training=False),
    ),
}


def main() -> None:
    """Run the jobs named on the command line and write their results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", choices=[[], *JOBS], help="none writes the table anew")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for job in (job for name in options.jobs for job in JOBS[name]):
        seeds = range(options.seeds) if job.is_training else (0,)
        result = {"job": job.name, "what": job.what, "command": shown(job), **surroundings(), "runs": []}
        for seed in seeds:
            result["runs"].append(run(job, options.data, seed))
            (RESULTS / f"accuracy-{job.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "classification.md").write_text(table())


def shown(job: Job) -> str:
    """The command as a reader would type it."""
    seed = " --seed SEED" if job.is_training else ""
    return "striate " + " ".join(word.replace("{data}", "DATA") for word in job.words) + seed


def surroundings() -> dict[str, Any]:
    """Commit, machine and versions."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    processor = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    code = "import torch, torchvision; print(torch.__version__, torchvision.__version__)"
    versions = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return {
        "commit": commit.stdout.strip(),
        "machine": f"{processor or platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "python": platform.python_version(),
        "torch": versions[0],
        "torchvision": versions[1],
    }


def run(job: Job, data: Path, seed: int) -> dict[str, Any]:
    """One run of the command as its own process: figures, and seconds from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        words = [word.format(data=data.resolve()) for word in job.words]
        if job.is_training:
            words += ["--seed", str(seed), "--run", f"{folder}/run"]
        started_at = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "striate", *words, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=folder,
        )
        elapsed_s = time.monotonic() - started_at
        answer = json.loads(done.stdout)
        figures = answer["evaluation"] if job.is_training else answer
        averaged = None
        if job.average:
            words = ["evaluate", f"{folder}/run", "--average", job.average, "--json"]
            judged = subprocess.run(
                [sys.executable, "-m", "striate", *words], stdout=subprocess.PIPE, text=True, check=True
            )
            averaged = json.loads(judged.stdout)["top1_accuracy"]
        epochs = len(Path(folder, "run", "metrics.jsonl").read_text().splitlines()) if job.is_training else 0
    return {
        "seed": seed,
        "epochs": epochs,
        "split": answer["split"],
        "num_images": figures["num_images"],
        "top1_accuracy": figures["top1_accuracy"],
        "top1_interval": figures["top1_interval"],
        "top5_accuracy": figures["top5_accuracy"],
        "averaged_accuracy": averaged,
        "elapsed_s": round(elapsed_s, 1),
    }


def table() -> str:
    """All results as one page."""
    lines = [
        "# Accuracy of runs, with the defaults but for what each command says",
        "",
        "Made by `benchmarks/accuracy.py` from the JSON files beside this page, which hold every run. DATA is a "
        "folder of",
        "real images; seconds are those of the whole command, imports, decoding, checks, training, evaluation and "
        "report",
        "included, on a shared machine, so good to a factor of two.",
        "",
        "| what | accuracy: median (each seed) | measured on | epochs | seconds | commit |",
        "|---|---|---|---|---|---|",
    ]
    commands, machines = [], set()
    for path in sorted(RESULTS.glob("accuracy-*.json")):
        result = json.loads(path.read_text())
        runs = result["runs"]
        accuracies = [100 * each["top1_accuracy"] for each in runs]
        each = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
        seconds = statistics.median(each["elapsed_s"] for each in runs)
        top5 = f"; top-5 {100 * runs[0]['top5_accuracy']:.1f} %" if not runs[0]["epochs"] else ""
        averaged = [100 * each["averaged_accuracy"] for each in runs if each.get("averaged_accuracy")]
        if averaged:
            views = ", ".join(f"{accuracy:.2f}" for accuracy in averaged)
            top5 += f"; six views an image: **{statistics.median(averaged):.2f} %** ({views})"
        median = statistics.median(accuracies)
        measured_on = f"{runs[0]['num_images']:,} {runs[0]['split']}"
        cells = (
            result["what"],
            f"**{median:.2f} %** ({each}){top5}",
            measured_on,
            str(runs[0]["epochs"] or "–"),
            f"{seconds:.0f}",
            result["commit"],
        )
        lines.append(f"| {' | '.join(cells)} |")
        commands.append(f"{result['command']:<110} # {result['what']}")
        versions = f"Python {result['python']}, torch {result['torch']}, torchvision {result['torchvision']}"
        machines.add(f"{result['machine']}; {versions}")
    notes = (RESULTS / "classification-notes.md").read_text() if (RESULTS / "classification-notes.md").exists() else ""
    return "\n".join(
        [*lines, "", "```", *commands, "```", "", f"Machine: {'; '.join(sorted(machines))}. No GPU.", "", notes]
    )


if __name__ == "__main__":
    main()
