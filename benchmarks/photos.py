"""From image files to network input, and a folder of 1,000 photos answered end to end, against the usual ways.

    .venv/bin/python benchmarks/photos.py [feeding] [folder] --data ../shared/data

feeding: images/s of random resized crops with flips at 224, in batches of 32, normalised. striate scans, hashes,
decodes and packs in the first pass and reads the packed pixels in later ones; torchvision's ImageFolder, v2 transforms
and DataLoader decode again in every pass. Imports are not counted.

folder: whole commands, from start to end: striate predict (before and after `striate bench`), a careful script for
PyTorch, timm's own loader and way, and Ultralytics' where it is installed (peers/). Weights are the same, but
ResNet-18's are random, and Ultralytics puts its own head on it. Writes docs/results/photos.json.
"""

import argparse
import csv
import importlib.util
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import striate
import timed
from accuracy import RESULTS, SQUEEZENET, surroundings
from striate.cli.memory import keep_freed_memory
from striate.data.augmentation_settings import Augmentation
from striate.data.opening import Access, open_data, pack_data
from striate.data.preprocessing import Preprocessing
from striate.progress import log_nothing
from striate.tasks.catalogue import task_for
from striate.training.loader import Loader
from striate.training.recipe import Recipe

PEERS = Path(__file__).parent / "peers"
NUM_PHOTOS = 1000
LATER_PASSES = 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Run the parts named, all by default, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], "feeding", "folder"])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--photos", type=int, default=NUM_PHOTOS)
    options = parser.parse_args()
    keep_freed_memory()  # as every command of striate does; everyone in this process gains by it
    out = RESULTS / "photos.json"
    result = json.loads(out.read_text()) if out.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = gather(options.data, folder / "photos", options.photos)
        print(f"{len(list(photos.rglob('*.jpg')))} photos", flush=True)
        for part in options.parts or ["feeding", "folder"]:
            measure = {"feeding": feeding, "folder": whole_commands}[part]
            result[part] = {**surroundings(), **measure(photos, folder, options)}
            out.write_text(json.dumps(result, indent=1) + "\n")


def gather(data: Path, folder: Path, num_photos: int) -> Path:
    """Copies of real photos, flowers and then ants and bees, in a folder for each class."""
    found = itertools.chain(*(sorted((data / name).rglob("*.jpg")) for name in ("flowers", "hymenoptera")))
    for path in itertools.islice(found, num_photos):
        place = folder / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / path.name)
    return folder


def feeding(photos: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Images/s of the first and of later passes of everyone, in turns; striate's cache is fresh in each round."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for number in range(options.repeats):
        os.environ["STRIATE_CACHE"] = str(folder / f"cache{number}")
        ways = {"striate": striate_passes(photos)}
        ways |= {f"DataLoader, {workers} workers": loader_passes(photos, workers) for workers in (0, 1, 2)}
        for name, passes in ways.items():
            first, *later = itertools.islice(passes, 1 + LATER_PASSES)
            lines.setdefault(name, []).append((first, statistics.median(later)))
            print(f"  {name}: {first:.0f} images/s, later {statistics.median(later):.0f}", flush=True)
    return {
        "runs": options.repeats,
        "images_per_s": {
            name: dict(
                zip(("first_pass", "later_passes"), map(statistics.median, zip(*pairs, strict=True)), strict=True)
            )
            for name, pairs in lines.items()
        },
    }


def striate_passes(photos: Path) -> Iterator[float]:
    """Images/s of one pass after another, the first with scan, hashes, decoding and packing."""
    began = time.perf_counter()
    access = Access()
    data = open_data(photos, access)
    preprocessing = Preprocessing(3, 256, (224, 224), MEAN, STD)
    packed = pack_data(data, preprocessing, access)
    everything = np.arange(len(packed))
    task = task_for(data.dataset, None)
    annotations = task.annotations(data.dataset, log=log_nothing)
    loader = Loader(packed, annotations, everything, everything[:1], preprocessing, task)
    changes = Augmentation(crop_scale=(0.08, 1.0), flip=True)
    recipe = Recipe(
        "resnet18", epochs=1 + LATER_PASSES, batch_size=32, augmentation=changes, use_channels_last=True
    )  # as is usual here
    for epoch in itertools.count():
        seen = sum(len(batch.images) for batch in loader.train_batches(recipe, epoch, torch.device("cpu")))
        yield seen / (time.perf_counter() - began)
        began = time.perf_counter()


def loader_passes(photos: Path, num_workers: int) -> Iterator[float]:
    """Images/s of one pass after another, as torchvision's and PyTorch's guides set them up."""
    prepare = v2.Compose(
        [
            v2.RandomResizedCrop(224, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    began = time.perf_counter()
    data = ImageFolder(photos, prepare)
    loader = DataLoader(data, 32, shuffle=True, num_workers=num_workers, persistent_workers=num_workers > 0)
    while True:
        seen = sum(len(images) for images, _ in loader)
        yield seen / (time.perf_counter() - began)
        began = time.perf_counter()


def whole_commands(photos: Path, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and memory of every way for both networks, and how many best classes are those of PyTorch's float32."""
    random = folder / "resnet18.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), random)
    real = folder / "squeezenet1_0.pth"
    network = striate.load_model(f"squeezenet1_0:{options.data / SQUEEZENET}").network
    torch.save(network.state_dict(), real)
    return {
        name: one_network(name, weights, photos, folder, options.repeats)
        for name, weights in (("squeezenet1_0", real), ("resnet18", random))
    }


def one_network(network: str, weights: Path, photos: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """striate's commands first, since the second needs what `bench` remembers; then everybody in turns."""
    model, out = f"{network}:{weights}", folder / network
    environment = {"STRIATE_CACHE": str(folder / f"cache-{network}")}
    before = {"STRIATE_CACHE": str(folder / f"no-bench-{network}")}
    own = [sys.executable, "-m", "striate"]
    print(network, flush=True)
    bench_s, _ = timed.run([*own, "bench", model, photos], environment=environment)
    ways: dict[str, timed.Command] = {
        "striate predict": [
            "env",
            *(f"{key}={value}" for key, value in environment.items()),
            *own,
            "predict",
            model,
            photos,
            "--json",
        ],
        "striate predict, nothing measured": [
            "env",
            *(f"{key}={value}" for key, value in before.items()),
            *own,
            "predict",
            model,
            photos,
            "--json",
        ],
    }
    for workers in (0, 1, 2):
        ways[f"PyTorch, {workers} workers"] = [
            sys.executable,
            PEERS / "predict_torch.py",
            network,
            weights,
            photos,
            f"{out}-torch.csv",
            str(workers),
        ]
    if network == "resnet18":  # timm has no SqueezeNet
        for workers in (0, 2):
            ways[f"timm, {workers} workers"] = [
                sys.executable,
                PEERS / "predict_timm.py",
                network,
                weights,
                photos,
                f"{out}-timm.csv",
                str(workers),
            ]
        if importlib.util.find_spec("ultralytics"):
            script, configuration = PEERS / "predict_ultralytics.py", PEERS / "ultralytics_resnet18.yaml"
            for size in (1, 32):
                name = "Ultralytics, one by one" if size == 1 else f"Ultralytics, batches of {size}"
                ways[name] = [sys.executable, script, configuration, photos, f"{out}-ultralytics.csv", str(size)]
    times = timed.take_turns(ways, repeats)
    answers = json.loads(subprocess.run(ways["striate predict"], stdout=subprocess.PIPE, check=True).stdout)
    slow = json.loads(
        subprocess.run(ways["striate predict, nothing measured"], stdout=subprocess.PIPE, check=True).stdout
    )
    ours = {each["path"]: each["classes"][0]["index"] for each in answers["predictions"]}
    plain = {each["path"]: each["classes"][0]["index"] for each in slow["predictions"]}
    with Path(f"{out}-torch.csv").open(newline="") as file:
        theirs = {row[0]: int(row[1]) for row in csv.reader(file)}
    return {
        "num_photos": len(ours),
        "bench_s": bench_s,
        "equal_best_class": {"striate's slow way": equal(ours, plain), "PyTorch's script": equal(ours, theirs)},
        "ways": times,
    }


def equal(left: dict[str, int], right: dict[str, int]) -> int:
    """How many of the same photos have the same best class."""
    assert left.keys() == right.keys()
    return sum(left[path] == right[path] for path in left)


if __name__ == "__main__":
    main()
