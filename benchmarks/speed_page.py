"""docs/results/speed.md, written anew from the JSON files that the other benchmarks left beside it, and speed-notes.md
at its end.

.venv/bin/python benchmarks/speed_page.py
"""

import json
import statistics
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from accuracy import RESULTS

Result = dict[str, Any]


def main() -> None:
    """Write the page from what there is."""
    sections: dict[str, Callable[[Result], list[str]]] = {
        "start-up": start_up,
        "photos": photos,
        "mnist-to-99": mnist,
        "cifar10": cifar10,
        "transfer": transfer,
        "transfer-lower": transfer,
        "training-speed": training,
        "inference": inference,
        "inference-trained": partial(inference, weights="real weights, real photos"),
        "inference-learnt": partial(inference, weights="VGG-16 trained on the flowers, at 128 pixels"),
        "gpu": on_gpu,
    }
    lines = [
        "# Speed, against the usual ways of doing the same",
        "",
        "Made by `benchmarks/speed_page.py` from the JSON files beside this page, which hold every figure. Everyone "
        "takes turns",
        "in one run on one machine and does the same work as its own documentation has it; figures are medians. "
        "Machines are",
        "shared and noisy, so ratios are what counts.",
        "",
    ]
    for name, section in sections.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            lines += [*section(json.loads(path.read_text())), ""]
    notes = (RESULTS / "speed-notes.md").read_text()
    (RESULTS / "speed.md").write_text("\n".join(lines) + notes)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table."""
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *map(list, rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def made_by(command: str, about: Result, runs: Any) -> list[str]:
    """The line that says where figures come from."""
    versions = f"Python {about['python']}, torch {about['torch']}"
    return ["", f"`{command}`, {runs} runs, commit {about['commit']}, {about['machine']}, {versions}.", ""]


def start_up(about: Result) -> list[str]:
    """Whole processes from start to end."""
    commands = about["commands"]
    runs = next(iter(commands.values()))["runs"]
    missing = f"Not there to be timed: {', '.join(about['missing'])}." if about["missing"] else ""
    rows = ([name, f"{each['seconds']:.2f}", f"{each['peak_mb']:,.0f}"] for name, each in commands.items())
    return [
        "## Start",
        *made_by("benchmarks/start_up.py", about, runs),
        *table(["command", "seconds", "MB"], rows),
        *(["", missing] if missing else []),
    ]


def photos(about: Result) -> list[str]:
    """Feeding a network, and answering a folder."""
    feeding, folder = about["feeding"], about["folder"]
    speeds = feeding["images_per_s"]
    lines = ["## From 1,000 photos to network input, images/s"]
    lines += made_by("benchmarks/photos.py feeding", feeding, feeding["runs"])
    lines += table(
        ["", "first pass", "later passes"],
        ([name, f"{each['first_pass']:,.0f}", f"{each['later_passes']:,.0f}"] for name, each in speeds.items()),
    )
    for network, found in ((name, each) for name, each in folder.items() if isinstance(each, dict)):
        num_photos, equal = found["num_photos"], found["equal_best_class"]
        lines += ["", f"## {num_photos:,} photos answered by {network}, whole commands"]
        lines += made_by("benchmarks/photos.py folder", folder, next(iter(found["ways"].values()))["runs"])
        rows = (
            [name, f"{each['seconds']:.1f}", f"{each['peak_mb']:,.0f}" if "peak_mb" in each else "not measured"]
            for name, each in found["ways"].items()
        )
        lines += table(["", "seconds", "MB, largest process"], rows)
        same = ", ".join(f"{number:,} as by {name}" for name, number in equal.items())
        lines += [
            "",
            f"Best classes of `striate predict`: {same}. `striate bench` before it took {found['bench_s']:.0f} s, "
            "once.",
        ]
    return lines


def mnist(about: Result) -> list[str]:
    """Seconds to the target."""
    rows = []
    for name, found in about["runs"].items():
        reached = ", ".join(
            f"{100 * each['accuracy']:.2f} %" + ("" if each["is_met"] else " (not met)") for each in found
        )
        epochs = ", ".join(str(each["epoch"]) for each in found if "epoch" in each)
        rows.append([name, f"{about['median_seconds'][name]:.1f}", reached, epochs or "1"])
    return [
        "## MNIST to 99.0 % of the test images, from process start",
        *made_by("benchmarks/mnist.py", about, max(map(len, about["runs"].values()))),
        f"`{about['command']}` is **{about['times_as_fast']:.1f} times as fast as {about['fastest_peer']}**, the "
        "fastest peer;",
        "the bar is 8.",
        "",
        *table(["", "seconds", "accuracy, each seed", "epochs"], rows),
    ]


def on_gpu(about: Result) -> list[str]:
    """CIFAR-10 beside the published script; whatever else was measured on a GPU stands in the file."""
    cifar = about["cifar"]
    rows = []
    for name, found in (*cifar["striate"].items(), ("airbench94.py", cifar["airbench94.py"])):
        figures = {key: [run[key] for run in found if key in run] for key in ("accuracy", "six_views_accuracy")}
        seconds = statistics.median(run.get("loop_s") or run["seconds"] for run in found)
        shares = (" ".join(f"{100 * each:.2f}" for each in values) for values in figures.values())
        rows.append([name if name.endswith(".py") else f"striate, {name}", f"{seconds:.2f}", *shares])
    gpu = {**cifar, "machine": f"{cifar['gpu']}, {cifar['machine']}"}
    return [
        "## CIFAR-10 on a GPU, beside the published airbench94.py",
        *made_by("benchmarks/gpu.py cifar", gpu, len(cifar["airbench94.py"])),
        *table(["", "seconds (median)", "accuracy, each run, %", "six views an image, %"], rows),
        "",
        "striate's seconds are those of its loop: updates, validation after every epoch, checkpoints and the best "
        "model written. The",
        "script's are those of its updates and one judgement by six views, as it counts them itself. Imports and "
        "decoding",
        "count in neither; the whole command, from the start of the process to the report, images packed before, took",
        f"{cifar['whole_command_s']:.0f} s, most of it imports.",
    ]


def cifar10(about: Result) -> list[str]:
    """How right after how long; of a peer its last epoch in the time it had, or that which met the target."""
    rows = []
    for name, found in about["runs"].items():
        for run in found:
            if "lines" not in run:
                six = f"{100 * run['six_views_accuracy']:.2f} %"
                rows.append([name, str(run["seed"]), f"{run['seconds']:.0f}", f"{100 * run['accuracy']:.2f} %", six])
                continue
            *_, last = run["lines"]
            single = next(line for line in run["lines"] if line["epoch"] == last["epoch"])
            reached = f"{100 * single['accuracy']:.2f} % (epoch {single['epoch']})"
            six = (
                "" if single is last else f"{100 * last['accuracy']:.2f} %"
            )  # judged a second time after the last epoch
            rows.append([name, str(run["seed"]), f"{single['seconds']:.0f}", reached, six])
    commands = "; ".join(f"{name}: `{words}`" for name, words in about["commands"].items() if name in about["runs"])
    return [
        "## CIFAR-10 from a copy saved as JPEG: the 10,000 test images, from process start",
        *made_by("benchmarks/cifar10.py", about, max(map(len, about["runs"].values()))),
        f"{commands}. Peers end with the epoch that meets {100 * about['target']:.0f} %, or are stopped.",
        "",
        *table(["", "seed", "seconds", "accuracy", "six views an image"], rows),
    ]


def transfer(about: Result) -> list[str]:
    """Seconds and accuracy of a new head."""
    is_head = about.get("freeze", "base") == "base"
    trained = "A new head" if is_head else "The last third and a new head (`--freeze lower`)"
    lines = [f"## {trained} on real SqueezeNet weights, {about['epochs']} epochs"]
    runs = {name: {who: len(found) for who, found in each["runs"].items()} for name, each in about["sets"].items()}
    counts = "; ".join(
        f"{name}: " + ", ".join(f"{who} {number}" for who, number in each.items()) for name, each in runs.items()
    )
    lines += [
        *made_by("benchmarks/transfer.py" + ("" if is_head else f" --freeze {about['freeze']}"), about, f"({counts})")
    ]
    rows = []
    for name, each in about["sets"].items():
        for who, median in each["medians"].items():
            found = [100 * run["accuracy"] for run in each["runs"][who]]
            every = ", ".join(f"{accuracy:.1f}" for accuracy in found)
            rows.append(
                [
                    name,
                    who,
                    f"{median['seconds']:.1f}",
                    f"{100 * median['accuracy']:.1f} % ({every})",
                    f"{statistics.fmean(found):.1f} %",
                ]
            )
        ratio = each["times_as_fast_as_fastest_peer"]
        if ratio:
            others = {who: median["accuracy"] for who, median in each["medians"].items() if who != "striate"}
            best = max(others, key=others.__getitem__)
            points = 100 * (each["medians"]["striate"]["accuracy"] - others[best])
            level = (
                f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if round(points, 1) else "level with"
            )
            lines += [
                f"{name}: **{ratio:.1f} times as fast as the fastest peer** here, {level} the most accurate one, "
                f"{best}; the bar is 10 times.",
                "",
            ]
    return lines + table(["set", "", "seconds", "accuracy, median (each seed)", "mean"], rows)


def training(about: Result) -> list[str]:
    """Training images/s and the share of the processor."""
    first = next(iter(about.values()))
    lines = ["## Training, images/s", *made_by("benchmarks/training_speed.py", first, first["runs"])]
    rows = []
    for name, job in about.items():
        found = job["lines"]
        speeds, fastest = found["images_per_s"], found["fastest_peer"]
        short = "bfloat16" in job["mode"]
        ceiling = job["ceiling_gflops"]["bfloat16" if short else "float32"]
        rows.append(
            [
                f"{name}, batch {job['batch_size']}",
                f"{speeds['striate']:,.1f}",
                job["mode"],
                f"{speeds[fastest]:,.1f} ({fastest})",
                f"{found['of_fastest_peer']:.2f}",
                f"{found['of_eager_float32']:.1f}",
                f"{found['gflops']:,.0f} ({100 * found['gflops'] / ceiling:.0f} %)",
            ]
        )
    head = ["", "striate", "its mode", "fastest peer", "of the fastest", "of eager float32", "GFLOP/s (of the ceiling)"]
    ceilings = ", ".join(f"{name} {value:,.0f}" for name, value in first["ceiling_gflops"].items())
    return [*lines, f"The ceiling is that of a product of two matrices: {ceilings} GFLOP/s.", "", *table(head, rows)]


def inference(about: Result, weights: str = "random weights") -> list[str]:
    """The engine that striate takes against the best of every peer."""
    lines = [f"## Inference, images/s ({weights})", *made_by("benchmarks/inference.py", about, about["repeats"])]
    rows = []
    for network in about["networks"]:
        for found in network["lines"]:
            speeds = found["images_per_s"]
            rows.append(
                [
                    network["network"],
                    str(found["batch_size"]),
                    f"{speeds['striate auto']:,.1f}",
                    found["chosen"],
                    f"{speeds['torch eager float32']:,.1f}",
                    f"{speeds[found['fastest_float32']]:,.1f} ({found['fastest_float32']})",
                    f"{speeds[found['fastest']]:,.1f} ({found['fastest']})",
                    f"{found['of_fastest']:.2f}",
                ]
            )
    gains = [
        each["images_per_s"]["striate auto"] / each["images_per_s"]["torch eager float32"]
        for network in about["networks"]
        for each in network["lines"]
    ]
    lines += [
        f"On average **{statistics.mean(gains):.1f} times** torch eager's default (geometric mean "
        f"{statistics.geometric_mean(gains):.1f}); the bar is 4.",
        "",
    ]
    fastest = "fastest of all, whose answers may differ"
    head = ["", "batch", "striate", "chosen", "torch eager", "fastest in float32", fastest, "of it"]
    return [*lines, *table(head, rows), *in_8_bits(about)]


def in_8_bits(about: Result) -> list[str]:
    """What 8 bits would give, on request, and what they cost; nothing where they were not measured."""
    rows = []
    for network in about["networks"]:
        measured = [row for row in network["bench"]["rows"] if row["timings"]]
        if not any(row["kind"]["precision"] == "int8" for row in measured):
            continue
        for row in measured:
            kind, found = row["kind"], row["agreement"]
            if kind["precision"] == "int8" or kind == measured[0]["kind"]:
                speeds = [f"{timing['images_per_s']:,.1f}" for timing in row["timings"]]
                accuracy = "–" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f} %"
                same = f"{found['num_equal']} of {found['num_images']}"
                name = f"{kind['name']} {kind['precision']}"
                rows.append([network["network"], name, *speeds, same, accuracy])
    if not rows:
        return []
    sizes = about["networks"][0]["bench"]["batch_sizes"]
    head = ["", "engine", *(f"batch {size}" for size in sizes), "best class as the reference's", "accuracy"]
    return [
        "",
        "In 8 bits, which nobody gets without asking, beside the reference (images/s, by `striate bench --int8`):",
        "",
        *table(head, rows),
    ]


if __name__ == "__main__":
    main()
