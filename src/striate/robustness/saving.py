"""Adversarial images as PNG files with a table, evaluated once more after rounding to 8 bits: what a file can hold
still fools?
"""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from striate.data.cache import write_atomically
from striate.errors import InputError
from striate.robustness.attacked import Callee
from striate.robustness.clean import clean_outputs
from striate.robustness.outcome import AttackOutcome, classes_of
from striate.tasks.intervals import wilson_interval

TABLE = "adversarials.csv"


def to_8_bits(images: Tensor, originals: Tensor) -> Tensor:
    """Pixels (N, C, H, W) uint8 of changed images in [0, 1], each rounded towards its original, so that no change
    grows.
    """
    before = (originals * 255).round()
    changes = (images - originals) * 255
    return (before + torch.trunc(changes + changes.sign() * 1e-3)).clamp(0, 255).to(torch.uint8)


def save_adversarials(outcome: AttackOutcome, network: Callee, folder: str | Path) -> AttackOutcome:
    """Write a PNG for each image that was fooled, and adversarials.csv, into `folder`; the outcome with what rounding
    cost.

    The rounded images go through the network again: `extra` gains robust_accuracy_8bit, robust_interval_8bit and
    saved_to. Raises InputError where the folder cannot be written, or images have other than 1 or 3 channels.
    """
    folder = Path(folder)
    channels = outcome.images.shape[1]
    if channels not in (1, 3):
        raise InputError(f"a PNG holds grey or RGB images but these have {channels} channels; leave --save out")
    pixels = to_8_bits(outcome.images, outcome.originals)
    device = next(network.parameters()).device if isinstance(network, torch.nn.Module) else torch.device("cpu")
    after = classes_of(clean_outputs(network, (pixels.float() / 255).to(device)))
    fooled = outcome.was_correct & ~outcome.is_robust
    still = fooled & (after != outcome.labels)
    rows = []
    try:
        for number in fooled.nonzero()[:, 0].tolist():
            name = f"{number:05}.png"
            write_atomically(folder / name, _png(pixels[number].permute(1, 2, 0).numpy()))
            rows.append(
                {
                    "file": name,
                    "original": outcome.names[number],
                    "label": outcome.class_names[int(outcome.labels[number])],
                    "taken_for": outcome.class_names[int(outcome.after[number])],
                    "taken_for_8bit": outcome.class_names[int(after[number])],
                    "still_fools_8bit": int(still[number]),
                    "change": f"{outcome.sizes[number].item():.6g}",
                }
            )
        write_atomically(folder / TABLE, _table(rows))
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}; name another folder") from None
    num_robust = int((outcome.was_correct & ~still).sum())
    extra = {
        "robust_accuracy_8bit": num_robust / len(outcome),
        "robust_interval_8bit": list(wilson_interval(num_robust, len(outcome))),
        "saved_to": str(folder),
    }
    return replace(outcome, extra=outcome.extra | extra)


def _table(rows: list[dict[str, object]]) -> bytes:
    text = io.StringIO()
    columns = ("file", "original", "label", "taken_for", "taken_for_8bit", "still_fools_8bit", "change")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(data, "png")
    return data.getvalue()
