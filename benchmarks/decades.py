"""Ten networks across the decades on the CIFAR-10 copy: one recipe, one budget of time; accuracy against size and
arithmetic.

.venv/bin/python benchmarks/decades.py --data ../shared/data --budget 120

Every network trains with the same optimiser, schedule, batch and augmentation for as many whole epochs as fit into the
budget of training seconds (at least one), on this machine; the test part judges once, at the end. Writes decades.json,
decades.md and decades.svg to docs/results/. The figures show what each idea buys in equal time on an ordinary machine,
not what the papers reach.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

import striate
from striate.cli.memory import keep_freed_memory
from striate.networks.catalogue import CATALOGUE
from striate.networks.entry import Entry
from striate.recipes.defaults import TINY_MACS
from striate.tasks.classification.logits import class_logits

sys.path.insert(0, str(Path(__file__).parent))
from accuracy import RESULTS, ROOT, surroundings

NETWORKS = (
    "mlp",
    "lenet5",
    "alexnet_small",
    "nin_cifar",
    "allcnn_c_cifar",
    "vgg16_bn_cifar",
    "resnet20_cifar",
    "wrn_16_4_cifar",
    "densenet_bc_40_12_cifar",
    "mobilenet_v2_cifar",
)
BATCH_SIZE, NUM_TRAIN = 128, 45_000
WARM_UP_STEPS, PROBE_S = 3, 4.0


def main() -> None:
    """Train them one after the other and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of training for each network")
    parser.add_argument("--draw-only", action="store_true")
    options = parser.parse_args()
    path = RESULTS / "decades.json"
    if not options.draw_only:
        keep_freed_memory()
        result: dict[str, Any] = {"budget_s": options.budget, **surroundings(), "threads": torch.get_num_threads()}
        result["runs"] = []
        for name in NETWORKS:
            result["runs"].append(run(CATALOGUE[name], options.data / "cifar10-jpeg.npz", options.budget))
            path.write_text(json.dumps(result, indent=1) + "\n")
            print(result["runs"][-1], flush=True)
    result = json.loads(path.read_text())
    draw(result, RESULTS / "decades.svg")
    (RESULTS / "decades.md").write_text(table(result))


def run(entry: Entry, source: Path, budget_s: float) -> dict[str, Any]:
    """One network: its epochs by the budget, its training, its judgement."""
    speed = images_per_s(entry)
    epochs = max(1, int(budget_s * speed / NUM_TRAIN))
    choices = striate.Choices(
        network=entry.name, epochs=epochs, batch_size=BATCH_SIZE, optimizer="adamw", learning_rate=2e-3,
        weight_decay=0.02, schedule="one_cycle", label_smoothing=0.0, flip=True, shift_px=3, seed=0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        done = striate.train(source, choices, run=Path(folder) / "run", run_checks=False)
        lines = [json.loads(line) for line in (done.path / "metrics.jsonl").read_text().splitlines()]
        described = json.loads((done.path / "run.json").read_text())
    assert done.evaluation is not None
    return {
        "network": entry.name,
        "year": entry.year,
        "num_params": described["network"]["num_params"],
        "macs": striate.describe(entry.name, input_size=(3, *entry.input_size[1:])).macs,
        "epochs": epochs,
        "precision": described["recipe"]["precision"],
        "training_s": round(sum(NUM_TRAIN / line["images_per_s"] for line in lines), 1),
        "top1_accuracy": done.evaluation.top1_accuracy,
        "top1_interval": list(done.evaluation.top1.interval),
    }


def images_per_s(entry: Entry) -> float:
    """Training speed over some seconds, as the run will compute; the first steps are left out."""
    network = striate.build_network(entry.name, num_classes=10, in_channels=3, seed=0).train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5)
    images = torch.randn(BATCH_SIZE, 3, *entry.input_size[1:]).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH_SIZE,))
    use_bf16 = entry.macs >= TINY_MACS  # as the defaults do
    started_at, num_timed = time.perf_counter(), -WARM_UP_STEPS
    while num_timed < 1 or time.perf_counter() - started_at < PROBE_S:
        if num_timed == 0:
            started_at = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=use_bf16):
            loss = nn.functional.cross_entropy(class_logits(network(images)).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        num_timed += 1
    return BATCH_SIZE * num_timed / (time.perf_counter() - started_at)


def table(result: dict[str, Any]) -> str:
    """The page of the results."""
    lines = [
        "# Ten networks across the decades, in equal time",
        "",
        "CIFAR-10 (the JPEG copy: 45,000 images train, 5,000 choose the epoch, the official 10,000 judge),",
        f"{result['budget_s']:.0f} seconds of training each, in whole epochs, at least one; AdamW at 2e-3 with weight "
        "decay 0.02,",
        "one cycle, batches of 128, mirror images and shifts by up to 3 pixels; one seed. Accuracies with 95 % "
        "intervals. They",
        "show what an idea buys in equal time on two cores, not what the papers reach: the wide and deep ones are far "
        "from done,",
        "and those without norms (nin, allcnn, alexnet) would do better at a rate of their own.",
        "",
        "| network | year | parameters | multiply-adds | epochs | training, s | test accuracy |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in result["runs"]:
        low, high = each["top1_interval"]
        accuracy = f"{100 * each['top1_accuracy']:.1f} % ({100 * low:.1f} – {100 * high:.1f})"
        figures = (f"{each['num_params']:,}", f"{each['macs']:,}", str(each["epochs"]), f"{each['training_s']:.0f}")
        lines.append(f"| `{each['network']}` | {each['year']} | {' | '.join(figures)} | {accuracy} |")
    versions = f"Python {result['python']}, torch {result['torch']}, torchvision {result['torchvision']}"
    command = f".venv/bin/python benchmarks/decades.py --data DATA --budget {result['budget_s']:.0f}"
    lines += [
        "",
        f"`{command}` at commit {result['commit']}; {result['machine']}, shared with other work; {versions}. No GPU.",
        "",
    ]
    lines += ["![Accuracy against parameters and multiply-adds](decades.svg)", ""]
    return "\n".join(lines)


def draw(result: dict[str, Any], path: Path) -> None:
    """Accuracy against parameters and against multiply-adds, the networks named."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "striate"  # the same picture from the same numbers
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    for axis, key, label in zip(
        axes, ("num_params", "macs"), ("parameters", "multiply-adds of one image"), strict=True
    ):
        for each in result["runs"]:
            percent, (low, high) = 100 * each["top1_accuracy"], (100 * share for share in each["top1_interval"])
            axis.errorbar(each[key], percent, yerr=[[percent - low], [high - percent]], fmt="o", color="#1f6f8b", ms=5)
            axis.annotate(
                f"{each['network'].removesuffix('_cifar')} {each['year']}", (each[key], percent), xytext=(5, 4),
                textcoords="offset points", fontsize=7.5,
            )  # fmt: skip
        axis.set(xscale="log", xlabel=label)
        axis.grid(alpha=0.3)
        axis.margins(x=0.3)
    axes[0].set_ylabel(f"test accuracy in %, {result['budget_s']:.0f} s of training")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
