"""Does the smallest network of every family keep all promises, and can it learn 32 real images by heart?

.venv/bin/python benchmarks/promises.py --data ../shared/data --budget 30

The promises are those of `striate.check_network`, torch.export among them. Then each network trains on 32 images of the
CIFAR-10 copy, without dropout, until its loss is below 0.1 or the seconds are over. Writes docs/results/promises.json
and docs/results/promises.md.
"""

import argparse
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.modules.dropout import _DropoutNd

import striate
from striate.cli.memory import keep_freed_memory
from striate.networks.catalogue import CATALOGUE, build_network
from striate.networks.entry import Entry
from striate.tasks.classification.logits import class_logits
from striate.tasks.classification.loss import ClassificationLoss

sys.path.insert(0, str(Path(__file__).parent))
from accuracy import RESULTS, ROOT, surroundings

NUM_IMAGES, LEARNT_LOSS = 32, 0.1
TRIES = ((1e-3, 0.0), (3e-4, 1.0), (1e-2, 0.0), (1e-4, 0.0))
"""Rates, and what is added to the last layer's bias, tried in this order until one has learnt them. A ReLU behind the
last layer, as in Network in Network, All-CNN and SqueezeNet, gives no gradient to a class that it silences for every
image; a bias of 1 lets all of them be heard at first.
"""
SIDE_PX = 64


def main() -> None:
    """Try every family and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--budget", type=float, default=30.0, help="seconds for each rate that is tried")
    parser.add_argument("--most-work", type=float, default=1e10, help="leave out networks with more multiply-adds")
    parser.add_argument(
        "--only", nargs="*", metavar="NETWORK", help="try these anew and keep what is known of the others"
    )
    options = parser.parse_args()
    keep_freed_memory()
    result: dict[str, Any] = {"budget_s": options.budget, **surroundings(), "networks": [], "left_out": []}
    known = json.loads((RESULTS / "promises.json").read_text())["networks"] if options.only else []
    for entry in smallest_of_every_family():
        if options.only and entry.name not in options.only:
            result["networks"] += [row for row in known if row["network"] == entry.name]
            continue
        if work(entry) > options.most_work:
            result["left_out"].append(entry.name)
            continue
        row = trial(entry, options.data / "cifar10-jpeg.npz", options.budget)
        result["networks"].append({**row, "budget_s": options.budget, "commit": result["commit"]})
        print(result["networks"][-1], flush=True)
    (RESULTS / "promises.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "promises.md").write_text(table(result))


def smallest_of_every_family() -> list[Entry]:
    """By the multiply-adds of the smallest input that the network takes and that is not below 32 pixels."""
    found: dict[str, Entry] = {}
    for entry in sorted(CATALOGUE.values(), key=work):
        found.setdefault(entry.family, entry)
    return sorted(found.values(), key=lambda entry: entry.year or 0)


def work(entry: Entry) -> float:
    height, width = size(entry)
    return entry.macs * height * width / (entry.input_size[1] * entry.input_size[2]) + entry.num_params


def size(entry: Entry) -> tuple[int, int]:
    """Its own, or a small one for a network that is made for photos and takes others."""
    if entry.is_fixed_size or max(entry.input_size[1:]) <= SIDE_PX:
        return entry.input_size[1], entry.input_size[2]
    return max(entry.min_size[0], SIDE_PX), max(entry.min_size[1], SIDE_PX)


def trial(entry: Entry, source: Path, budget_s: float) -> dict[str, Any]:
    """Promises kept and broken, and how learning went."""
    input_size = (3, *size(entry))
    network = build_network(entry.name, num_classes=10, in_channels=3, seed=0)
    checks = striate.check_network(network, input_size, num_classes=10)
    images, labels = real_images(source, input_size[1:])
    tries: list[dict[str, Any]] = []
    for rate, bias in TRIES:
        tries.append(learn(entry, images, labels, rate, bias, budget_s))
        if tries[-1]["loss"] < LEARNT_LOSS:
            break
    learning = min(tries, key=lambda each: each["loss"])
    return {
        "network": entry.name,
        "year": entry.year,
        "input_size": list(input_size),
        "kept": [check.name for check in checks if check.passed],
        "broken": {check.name: check.detail for check in checks if not check.passed},
        **learning,
    }


def real_images(source: Path, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The first training images, normalised: (32, 3, H, W) and labels (32,)."""
    with np.load(source) as file:
        pictures = [Image.open(io.BytesIO(data)).resize(size[::-1]) for data in file["x_train"][:NUM_IMAGES]]
        labels = torch.from_numpy(file["y_train"][:NUM_IMAGES].astype(np.int64))
    pixels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2)
    return (pixels.float() / 255 - 0.47) / 0.25, labels


def learn(entry: Entry, images: Tensor, labels: Tensor, rate: float, bias: float, budget_s: float) -> dict[str, Any]:
    """Adam at this rate, in training mode, until all is learnt or time is over; `bias` is added to the head's."""
    network = build_network(entry.name, num_classes=10, in_channels=3, seed=0).train()
    head_bias = network.get_submodule(entry.head).bias
    if bias and head_bias is not None:
        with torch.no_grad():
            head_bias += bias
    for module in network.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
    if entry.initialize_from_images is not None:
        entry.initialize_from_images(network, images)
    params = [param for param in network.parameters() if param.requires_grad]
    optimizer, loss_fn = torch.optim.Adam(params, lr=rate, foreach=True), ClassificationLoss()
    started_at, step, best = time.monotonic(), 0, float("inf")
    while time.monotonic() - started_at < budget_s:
        answer = network(images)
        loss = torch.nn.functional.cross_entropy(class_logits(answer), labels).item()
        best = min(best, loss)
        if loss < LEARNT_LOSS or not np.isfinite(loss):
            break
        optimizer.zero_grad()
        loss_fn(answer, labels).backward()
        optimizer.step()
        step += 1
    return {
        "rate": rate,
        "bias": bias,
        "steps": step,
        "loss": round(best, 4),
        "elapsed_s": round(time.monotonic() - started_at, 1),
    }


def table(result: dict[str, Any]) -> str:
    """The page of the results."""
    lines = [
        "# Promises kept, and 32 images overfitted",
        "",
        "The smallest network of every family: what `striate.check_network` finds, and how far Adam, the best of up "
        "to four tries,",
        f"gets on 32 real images (CIFAR-10 copy) without dropout in {result['budget_s']:.0f} seconds of a shared "
        "machine; below",
        f"{LEARNT_LOSS} it stops. Bias: what was added to the last layer's, since a ReLU behind it silences classes "
        "for good.",
        "",
        "| network | year | images | promises | lowest loss | rate | bias | steps | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in result["networks"]:
        num = len(each["kept"]) + len(each["broken"])
        promises = f"{len(each['kept'])} of {num}" + "".join(f"; {name}: {why}" for name, why in each["broken"].items())
        images = "x".join(map(str, each["input_size"]))
        learning = " | ".join(f"{each[key]:g}" for key in ("loss", "rate", "bias", "steps", "elapsed_s"))
        lines.append(f"| `{each['network']}` | {each['year']} | {images} | {promises} | {learning} |")
    if result["left_out"]:
        lines += ["", f"Left out as too large for the time: {', '.join(result['left_out'])}."]
    lines += [f"\n{remark}" for remark in result.get("remarks", [])]
    versions = f"Python {result['python']}, torch {result['torch']}, torchvision {result['torchvision']}"
    lines += [
        "",
        f"`.venv/bin/python benchmarks/promises.py --data DATA --budget {result['budget_s']:.0f}` at commit "
        f"{result['commit']};",
    ]
    lines += [f"{result['machine']}; {versions}. No GPU.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
