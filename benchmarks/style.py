"""How long do 200 iterations of style transfer take beside a plain PyTorch script, how far does each come, and how soon
is a 512-pixel photo painted from the start of a process?

.venv/bin/python benchmarks/style.py --data ../shared/data --style starry.safetensors

Each side runs in processes of its own, in turns, on the same network, layers, losses and pictures (Tübingen and The
Starry Night, 256 x 256 pixels). The plain script is what one would write: weights without gradients, hooks on the
layers, torch.optim.LBFGS. Figures go to docs/results/synthesis.json.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SQUEEZENET = "squeezenet-v1.0-deep-compressed/compressed_SqueezeNet.net"


def main() -> None:
    """Run one side, or both in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--style", type=Path, help="a style file, to time `striate style PHOTO FILE`")
    parser.add_argument("--side", choices=("plain", "striate"), help="run this side here and print its figures")
    args = parser.parse_args()
    if args.side is not None:
        run = plain_script if args.side == "plain" else with_striate
        print(json.dumps(run(args.data, args.steps)))
        return
    runs: dict[str, list[dict]] = {"plain": [], "striate": []}
    for _ in range(args.repeats):
        for side, found in runs.items():
            words = [sys.executable, __file__, "--side", side, "--data", str(args.data), "--steps", str(args.steps)]
            found.append(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
    ratios = {
        key: statistics.median(run[key] for run in runs["striate"])
        / statistics.median(run[key] for run in runs["plain"])
        for key in ("seconds", "cpu_seconds")
    }
    document = {"machine": describe_machine(), "steps": args.steps, "runs": runs, "striate_over_plain": ratios}
    if args.style is not None:
        document["fast_style"] = time_fast_style(args.data, args.style)
    text = json.dumps(document, indent=1)
    (ROOT / "docs" / "results" / "synthesis.json").write_text(text + "\n", encoding="utf-8")
    print(json.dumps({"ratios": ratios, "fast_style": document.get("fast_style")}))


def plain_script(data: Path, steps: int) -> dict:
    """Style transfer as one would write it with PyTorch alone, on weights and layers of striate's run."""
    import torch
    from torch.nn import functional as F

    from striate.synthesis.style_layers import TRIED
    from striate.tasks.model import load_model

    loaded = load_model(f"squeezenet1_0:{data / SQUEEZENET}")
    features = loaded.network.features.eval().requires_grad_(False)
    layers = TRIED["squeezenet1_0"]
    numbers = sorted({int(name.split(".")[1]) for name in (*layers.style, *layers.content)})
    seen = {}
    for number in numbers:
        features[number].register_forward_hook(
            lambda _m, _i, output, n=f"features.{number}": seen.__setitem__(n, output)
        )
    network = features[: numbers[-1] + 1]
    mean = torch.tensor(loaded.preprocessing.mean).view(1, 3, 1, 1)

    def outputs(images):  # type: ignore[no-untyped-def]
        network(images.flip(1) * 255 - mean)
        return dict(seen)

    def gram(output):  # type: ignore[no-untyped-def]
        _, channels, height, width = output.shape
        flat = output.view(channels, height * width)
        return flat @ flat.t() / (height * width)

    content, style = pictures(data)
    with torch.no_grad():
        wanted = {name: outputs(content)[name].clone() for name in layers.content}
        grams = {name: gram(outputs(style)[name]) for name in layers.style}
    image = content.clone(memory_format=torch.contiguous_format).requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=steps, max_eval=steps, tolerance_change=0, tolerance_grad=0)
    losses = []

    def closure():  # type: ignore[no-untyped-def]
        optimizer.zero_grad()
        found = outputs(image)
        loss = sum((found[name] - wanted[name]).pow(2).sum() / wanted[name].pow(2).sum() for name in layers.content)
        for name in layers.style:
            error = (gram(found[name]) - grams[name]).pow(2).sum() / grams[name].pow(2).sum()
            loss = loss + 100 / len(layers.style) * error
        down, right = image[:, :, 1:] - image[:, :, :-1], image[..., 1:] - image[..., :-1]
        loss = loss + (F.pad(down.pow(2), (0, 0, 0, 1)) + F.pad(right.pow(2), (0, 1))).sum(dim=1).mean()
        loss.backward()
        losses.append(loss.item())
        return loss

    return timed(lambda: optimizer.step(closure), losses)


def with_striate(data: Path, steps: int) -> dict:
    """The same by `striate.transfer_style`, in a process set up as the command sets it up."""
    from striate.cli.memory import keep_freed_memory
    from striate.synthesis.opening import open_model
    from striate.synthesis.pictures import to_pixels
    from striate.synthesis.style import StyleConfig, transfer_style
    from striate.synthesis.style_layers import TRIED
    from striate.synthesis.watching import Watch

    keep_freed_memory()
    opened = open_model(f"squeezenet1_0:{data / SQUEEZENET}")
    content, style = (to_pixels(each) for each in pictures(data))
    losses: list[float] = []
    watch = Watch(lambda _step, _num, loss, _snapshot: losses.append(loss))
    config = StyleConfig(num_steps=steps)
    layers = TRIED["squeezenet1_0"]
    return timed(
        lambda: transfer_style(opened.pixel_model, content, [style], config, layers=layers, watch=watch), losses
    )


def pictures(data: Path):  # type: ignore[no-untyped-def]
    """Content and style (1, 3, 256, 256) in [0, 1]."""
    from striate.synthesis.pictures import read_picture, to_images

    names = ("photos/tubingen.jpg", "paintings/starry_night.jpg")
    return tuple(to_images(read_picture(data / "style" / name, size=(256, 256))) for name in names)


def timed(work, losses: list[float]) -> dict:  # type: ignore[no-untyped-def]
    """Wall and processor seconds of the work, and the losses it leaves."""
    import torch

    started_at, cpu_started_at = time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - started_at,
        "cpu_seconds": time.process_time() - cpu_started_at,
        "threads": torch.get_num_threads(),
        "evaluations": len(losses),
        "losses": losses[::10] + losses[-1:],
    }


def time_fast_style(data: Path, style: Path, repeats: int = 5) -> dict:
    """Seconds of `striate style PHOTO FILE --size 512` as a process."""
    spans, cpu_spans = [], []
    with tempfile.TemporaryDirectory() as folder:
        photo = data / "style" / "photos" / "chicago.jpg"
        words = [sys.executable, "-m", "striate", "style", str(photo), str(style), "--size", "512"]
        for _ in range(repeats):
            before, started_at = os.times(), time.perf_counter()
            subprocess.run([*words, "--out", f"{folder}/painted.png"], check=True, capture_output=True)
            spans.append(time.perf_counter() - started_at)
            after = os.times()
            cpu_spans.append(
                after.children_user + after.children_system - before.children_user - before.children_system
            )
    return {"seconds": spans, "cpu_seconds": cpu_spans, "median_seconds": statistics.median(spans)}


def describe_machine() -> dict:
    """Commit, processor, versions and load, which a figure is worth little without."""
    import torch

    from striate.processor import processor

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    return {
        "commit": commit.strip(),
        "processor": processor()[0],
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
