"""The ledger: what a model takes and gives, measured on this machine, line by line."""

import dataclasses
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from striate.compression.answers import answers_to
from striate.compression.images import CompressionImages
from striate.compression.weights_of import weight_of, weighted_layers
from striate.data.sampling import read_batch
from striate.evaluation.evaluate_network import plain_batches
from striate.inspection.energy import energy_uj
from striate.inspection.layers import describe_network
from striate.progress import Track, track_silently
from striate.tasks.classification.figures import figures_of
from striate.tasks.classification.logits import tempered
from striate.tasks.classification.metrics import Answers
from striate.tasks.model import Model
from striate.weights.compressed_file import is_compressed_file

ROUNDS, LEAST_S = 7, 0.02
"""A model is timed in so many turns with the one it is compared with, each long enough for the clock."""


@dataclass(frozen=True)
class LedgerLine:
    """One model. `file_bytes` are those on disk. `num_nonzero` and `effective_macs` leave out what is multiplied by a
    weight that is 0. `ms_*` are milliseconds for a batch by `engine`, `original_ms_*` those of the model it is compared
    with, in turns with it. `agreement` is the fraction of images on which both say the same. Accuracies are fractions,
    with a 95 % interval; the negative log-likelihood is in nats; `energy_uj` an estimate.
    """

    step: str
    file_bytes: int
    num_params: int
    num_nonzero: int
    macs: int
    effective_macs: int
    ms_batch1: float
    ms_batch32: float
    original_ms_batch1: float
    original_ms_batch32: float
    engine: str
    top1_accuracy: float
    top1_interval: tuple[float, float]
    agreement: float
    negative_log_likelihood: float
    calibration_error: float
    energy_uj: float
    num_images: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "top1_interval": list(self.top1_interval)}


@dataclass(frozen=True, eq=False)
class Original:
    """The model that others are compared with, and what it says of the images (N,)."""

    model: Model
    predicted: np.ndarray


def original_of(model: Model, images: CompressionImages, *, track: Track = track_silently) -> Original:
    """What the model says, to compare others with."""
    return Original(model, _answers(model, images, track).predicted)


def measure(
    step: str,
    model: Model,
    path: str | Path,
    images: CompressionImages,
    original: Original,
    *,
    track: Track = track_silently,
) -> LedgerLine:
    """One line for a model as it was read from the file at `path`."""
    answers = _answers(model, images, track)
    figures = figures_of(answers, images.test[images.packed.usable[images.test]], model.class_names)
    counts = count(model.network, (model.preprocessing.channels, *model.preprocessing.crop_size))
    size = os.path.getsize(path)
    batches = {batch_size: _pixels(model, images, batch_size) for batch_size in (1, 32)}
    times = {batch_size: _times(model, original.model, pixels) for batch_size, pixels in batches.items()}
    weight_bytes = size if is_compressed_file(path) else 4 * counts.num_params
    return LedgerLine(
        step=step,
        file_bytes=size,
        num_params=counts.num_params,
        num_nonzero=counts.num_nonzero,
        macs=counts.macs,
        effective_macs=counts.effective_macs,
        ms_batch1=times[1][0],
        ms_batch32=times[32][0],
        original_ms_batch1=times[1][1],
        original_ms_batch32=times[32][1],
        engine="torch float32",
        top1_accuracy=figures.top1_accuracy,
        top1_interval=figures.top1.interval,
        agreement=float((answers.predicted == original.predicted).mean()),
        negative_log_likelihood=figures.negative_log_likelihood,
        calibration_error=figures.calibration_error,
        energy_uj=energy_uj(counts.effective_macs, weight_bytes, counts.activation_bytes),
        num_images=figures.num_images,
    )


@dataclass(frozen=True)
class Counts:
    """What one image takes; see LedgerLine."""

    num_params: int
    num_nonzero: int
    macs: int
    effective_macs: int
    activation_bytes: int


def count(network: nn.Module, input_size: tuple[int, int, int]) -> Counts:
    """Parameters, multiply-adds and bytes of activations of one image (C, H, W), and how many are left without
    zeros.
    """
    described = describe_network(network, input_size)
    layers = weighted_layers(network)
    effective = 0.0
    for layer in described.layers:
        density = 1.0
        if layer.name in layers:
            weight = weight_of(layers[layer.name])
            density = float((weight != 0).sum()) / max(1, weight.numel())
        effective += layer.macs * density
    params = list(network.parameters())
    return Counts(
        sum(param.numel() for param in params),
        sum(int((param != 0).sum()) for param in params),
        described.macs,
        round(effective),
        sum(layer.activation_bytes for layer in described.layers),
    )


def _times(model: Model, original: Model, pixels: np.ndarray) -> list[float]:
    """Milliseconds of the model and of the original; one measurement where they are the same."""
    return time_in_turns([model], pixels) * 2 if model is original else time_in_turns([model, original], pixels)


def time_in_turns(models: Sequence[Model], pixels: np.ndarray) -> list[float]:
    """The median milliseconds that each model takes for the batch of pixels (N, H, W, C), measured in turns after a
    warm-up.
    """
    repeats = []
    for model in models:
        model.run(pixels)
        started_at = time.perf_counter()
        model.run(pixels)
        repeats.append(max(1, min(100, round(LEAST_S / max(1e-6, time.perf_counter() - started_at)))))
    samples: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for model, num, taken in zip(models, repeats, samples, strict=True):
            started_at = time.perf_counter()
            for _ in range(num):
                model.run(pixels)
            taken.append(1e3 * (time.perf_counter() - started_at) / num)
    return [statistics.median(taken) for taken in samples]


def _answers(model: Model, images: CompressionImages, track: Track) -> Answers:
    """What the model answers to the test images."""
    indices = images.test
    batches = plain_batches(images.packed, indices, model.preprocessing, 256, model.device)
    tracked = track(batches, "evaluating", -(-len(indices) // 256))
    return answers_to(tempered(model.network, model.temperature), tracked, images.labels[indices])


def _pixels(model: Model, images: CompressionImages, batch_size: int) -> np.ndarray:
    """A batch of test images (N, H, W, C), repeated where there are too few."""
    chosen = np.resize(images.test, batch_size)
    pixels = read_batch(images.packed, chosen, model.preprocessing.crop_size)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def renamed(line: LedgerLine, step: str) -> LedgerLine:
    """The line under another name."""
    return dataclasses.replace(line, step=step)
