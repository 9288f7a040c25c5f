"""Measures for a run's report by how small a change of the pixels its network is fooled. Written to
`robustness.json`.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from striate.data.cache import write_in_run
from striate.data.packed import PreparedImages
from striate.data.preprocessing import Preprocessing
from striate.data.sampling import read_batch
from striate.errors import StriateError
from striate.progress import Track, track_silently
from striate.robustness.clean import clean_outputs
from striate.robustness.pgd import pgd
from striate.tasks.intervals import wilson_interval
from striate.tasks.pixel_model import PixelModel

ROBUSTNESS_FILE = "robustness.json"
STEPS_OF_256 = (0.5, 1, 2, 4, 8, 16, 32)
"""The sizes of change, in steps of 8-bit pixels."""
NUM_STEPS = 7
MOST_IMAGES, _CHUNK = 200, 16
_LEAST_S, _FRACTION = 0.5, 0.1


def write_robustness(
    run_dir: Path,
    network: nn.Module,
    preprocessing: Preprocessing,
    packed: PreparedImages,
    indices: np.ndarray,
    labels: np.ndarray,
    *,
    training_s: float,
    seed: int = 0,
    track: Track = track_silently,
) -> dict[str, Any]:
    """Write and give the fraction of images that PGD of 7 steps in the l-infinity norm leaves correct, for seven sizes
    of change.

    Images are drawn by the seed from `indices`, `labels` (N,) being those of all images: up to 200, fewer where they
    take longer than a tenth of the training or half a second, at least 16. The network stays as it is. A network that
    cannot be attacked gets a notice instead of figures. RunError where the folder cannot be written.
    """
    began_at = time.perf_counter()
    panel: dict[str, Any] = {"norm": "linf", "method": "pgd", "num_steps": NUM_STEPS}
    indices = indices[~np.isin(indices, list(packed.broken))]
    indices = np.random.default_rng(seed).permutation(indices)[:MOST_IMAGES]
    allowed_s = max(_LEAST_S, _FRACTION * training_s)
    hits: list[np.ndarray] = []
    pixel_model = PixelModel(network, preprocessing).to(_device_of(network))
    try:
        for start in track(range(0, len(indices), _CHUNK), "attacking", -(-len(indices) // _CHUNK)):
            rows = indices[start : start + _CHUNK]
            hits.append(_correct_by_size(pixel_model, packed, rows, labels[rows], preprocessing.crop_size, seed))
            if time.perf_counter() - began_at > allowed_s:
                break
        panel["curve"] = _points(np.concatenate(hits, axis=1)) if hits else []
        panel["num_images"] = sum(each.shape[1] for each in hits)
    except (StriateError, RuntimeError) as error:
        panel["notice"] = (str(error).splitlines() or ["?"])[0]
    panel["seconds"] = round(time.perf_counter() - began_at, 2)
    write_in_run(run_dir / ROBUSTNESS_FILE, json.dumps(panel, indent=1).encode())
    return panel


def _correct_by_size(
    network: PixelModel, packed: PreparedImages, rows: np.ndarray, labels: np.ndarray, crop: tuple[int, int], seed: int
) -> np.ndarray:
    """Which of the images (n,) stay correct at no change and at each size: (1 + sizes, n) bool. A fooled one is not
    tried again.
    """
    device = _device_of(network)
    images = read_batch(packed, rows, crop).to(device).float() / 255
    wanted = torch.from_numpy(labels.astype(np.int64)).to(device)
    stands = clean_outputs(network, images).argmax(dim=1) == wanted
    found = [stands.cpu().numpy().copy()]
    for size in STEPS_OF_256:
        left = stands.nonzero()[:, 0]
        if len(left):
            result = pgd(network, images[left], wanted[left], epsilon=size / 255, num_steps=NUM_STEPS, seed=seed)
            stands[left[result.is_adversarial]] = False
        found.append(stands.cpu().numpy().copy())
    return np.stack(found)


def _points(correct: np.ndarray) -> list[dict[str, Any]]:
    sizes = [0.0, *(size / 255 for size in STEPS_OF_256)]
    num_images = correct.shape[1]
    return [
        {
            "epsilon": size,
            "accuracy": int(row.sum()) / num_images,
            "interval": list(wilson_interval(int(row.sum()), num_images)),
        }
        for size, row in zip(sizes, correct, strict=True)
    ]


def _device_of(network: nn.Module) -> torch.device:
    param = next(network.parameters(), None)
    return torch.device("cpu") if param is None else param.device
