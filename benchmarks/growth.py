"""How time and memory grow with images, classes, image size and processes.

    .venv/bin/python benchmarks/growth.py [images] [classes] [size] [processes] --data ../shared/data

Whole commands on real files in folders: `striate data` (scan and decode all), `striate train` for one epoch of LeNet-5
at 32 x 32 (the first time, which hashes and packs, and again), `striate evaluate`, and `striate predict` by the
reference. Images are CIFAR-10's JPEG files; for the sizes, photos of flowers, packed larger and larger. The exponent is
the slope between the two largest jobs in logarithms: 1 is in proportion, and what a command takes to start makes it
smaller. Writes docs/results/growth.json, .md and .svg.
"""

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import timed
from accuracy import RESULTS, surroundings

OWN = [sys.executable, "-m", "striate"]
PARTS = ("images", "classes", "size", "processes")
TRAIN = ("--network", "lenet5", "--epochs", "1", "--no-checks", "--no-measure")
COUNTS, CLASSES, SIZES, PROCESSES = (1_000, 10_000, 60_000), (10, 1_000, 20_000), (64, 128, 256, 512), (1, 2)


def main() -> None:
    """Measure the parts named, all by default; write figures, table and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of images and classes, to try it out")
    options = parser.parse_args()
    options.data = options.data.resolve()
    out = RESULTS / "growth.json"
    result = json.loads(out.read_text()) if out.exists() else {}
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            series = {"images": images, "classes": classes, "size": sizes, "processes": processes}[part]
            found = series(Path(folder), options)
        result[part] = {**surroundings(), "runs": options.repeats, "series": found}
        out.write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / "growth.md").write_text(table(result))
        plot(result)


def images(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """More images of ten classes."""
    jobs = {}
    for count in scaled(COUNTS, options.scale):
        write_jpegs(options.data, folder / str(count), count, 10)
        jobs[count] = stages(folder, folder / str(count), options.repeats)
    return jobs


def classes(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """More classes of the same number of images, three for each of the most."""
    counts = scaled(CLASSES, options.scale)
    jobs = {}
    for count in counts:
        write_jpegs(options.data, folder / str(count), 3 * counts[-1], count)
        jobs[count] = stages(folder, folder / str(count), options.repeats)
    return jobs


def sizes(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The same photos packed and fed at larger sizes, to a small network that takes them all."""
    jobs = {}
    for size in SIZES:
        words = ["--network", "mobilenet_v3_small", *TRAIN[2:], "--image-size", str(size)]
        train = [*OWN, "train", options.data / "flowers", *words]
        jobs[size] = in_turns(folder, {"first epoch": train}, options.repeats, f"size{size}")
    return jobs


def processes(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The same run shared out over more processes, one thread each."""
    count = scaled(COUNTS, options.scale)[1]
    write_jpegs(options.data, folder / "photos", count, 10)
    train = [
        *OWN,
        "train",
        folder / "photos",
        "--network",
        "resnet20_cifar",
        "--epochs",
        "1",
        "--no-checks",
        "--no-measure",
    ]
    return {
        number: in_turns(
            folder,
            {"one epoch": ["env", "OMP_NUM_THREADS=1", *train, "--devices", str(number)]},
            options.repeats,
            f"p{number}",
        )
        for number in PROCESSES
    }


def stages(folder: Path, photos: Path, repeats: int) -> dict[str, Any]:
    """The commands on one folder."""
    train = [*OWN, "train", photos, *TRAIN, "--image-size", "32"]
    first = in_turns(
        folder, {"data": [*OWN, "data", photos], "first epoch": train}, repeats, photos.name, is_fresh=True
    )
    run = folder / "model"
    timed.run([*train, "--run", run], environment={"STRIATE_CACHE": str(folder / f"cache-{photos.name}")})
    again = {
        "epoch again": train,
        "evaluate": [*OWN, "evaluate", run, photos],
        "predict": [*OWN, "predict", run, photos, "--engine", "torch", "--json"],
    }
    found = first | in_turns(folder, again, repeats, photos.name)
    for path in sorted(run.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run.rmdir()
    return found


def in_turns(
    folder: Path, commands: dict[str, timed.Command], repeats: int, name: str, *, is_fresh: bool = False
) -> dict[str, Any]:
    """Medians of the commands with a cache of their own, made anew for each round where it is to be fresh."""
    rounds = []
    for number in range(repeats):
        cache = folder / (f"fresh-{name}-{number}" if is_fresh else f"cache-{name}")
        environment = {"STRIATE_CACHE": str(cache)}
        rounds.append(timed.take_turns(commands, 1, environment=environment, folder=folder))
    return {
        each: {
            "seconds": float(np.median([found[each]["seconds"] for found in rounds])),
            "peak_mb": max(found[each]["peak_mb"] for found in rounds),
        }
        for each in commands
    }


def write_jpegs(data: Path, folder: Path, count: int, num_classes: int) -> None:
    """So many files, all unlike, in so many folders."""
    with np.load(data / "cifar10-jpeg.npz") as archive:
        found = [*archive["x_train"], *archive["x_test"]]
    for number, content in enumerate(found[:count]):
        place = folder / f"class{number % num_classes:05}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:05}.jpg").write_bytes(bytes(content))


def scaled(numbers: tuple[int, ...], scale: float) -> list[int]:
    """The numbers of a smaller trial, at least ten."""
    return [max(10, int(number * scale)) for number in numbers]


def exponents(series: dict[str, Any]) -> dict[str, dict[str, float]]:
    """For every command: the slopes of log time and log memory over log size."""
    points = [float(each) for each in series]
    return {
        name: {key: slope(points, [job[name][key] for job in series.values()]) for key in ("seconds", "peak_mb")}
        for name in next(iter(series.values()))
    }


def slope(points: list[float], values: list[float]) -> float:
    """Of a straight line through the logarithms, between the two largest."""
    return math.log(values[-1] / values[-2]) / math.log(points[-1] / points[-2])


def table(result: dict[str, Any]) -> str:
    """Seconds and megabytes of everything, and the exponents between the two largest jobs."""
    lines = [
        "# Growth",
        "",
        "Made by `benchmarks/growth.py`; median seconds, peak memory of the largest process; exponents between the "
        "two largest jobs.",
        "",
    ]
    for part, about in result.items():
        series = about["series"]
        names = list(next(iter(series.values())))
        lines += [f"## By {part}", "", f"{about['machine']}, commit {about['commit']}, {about['runs']} runs.", ""]
        lines += ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        lines += [
            f"| {float(size):,.0f} | "
            + " | ".join(f"{job[name]['seconds']:.1f} s, {job[name]['peak_mb']:,.0f} MB" for name in names)
            + " |"
            for size, job in series.items()
        ]
        found = exponents(series)
        lines += [
            "| exponent | "
            + " | ".join(f"{found[name]['seconds']:.2f}, {found[name]['peak_mb']:.2f}" for name in names)
            + " |",
            "",
        ]
    return "\n".join(lines)


def plot(result: dict[str, Any]) -> None:
    """Seconds above, memory below, one column for each part."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(result), figsize=(4 * len(result), 6), squeeze=False)
    for column, (part, about) in enumerate(result.items()):
        for row, key, label in ((0, "seconds", "seconds"), (1, "peak_mb", "MB")):
            series = about["series"]
            for name in next(iter(series.values())):
                axes[row, column].loglog(
                    [float(size) for size in series],
                    [job[name][key] for job in series.values()],
                    marker="o",
                    label=name,
                )
            axis, points = axes[row, column], [float(size) for size in series]
            axis.set_xticks(points, [f"{point:,.0f}" for point in points])
            axis.minorticks_off()
            low, high = axis.get_ylim()
            ticks = [step * 10**power for power in range(-2, 6) for step in (1, 2, 5)]
            axis.set_yticks(ticks, [f"{tick:,g}" for tick in ticks])
            axis.set_ylim(low / 1.5, high * 1.5)
            axis.set_ylabel(label)
            axis.set_xlabel(part)
        axes[0, column].legend(fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    figure.tight_layout()
    figure.savefig(RESULTS / "growth.svg")


if __name__ == "__main__":
    main()
