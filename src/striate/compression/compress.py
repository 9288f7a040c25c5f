"""Compress a model step by step: each step retrained where there are images for it, written to a file, and measured
from that file.
"""

import copy
import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from striate.compression.deep import deep_steps, num_bytes_of
from striate.compression.images import CompressionImages, open_images
from striate.compression.ledger import LedgerLine, Original, measure, original_of
from striate.compression.model_bytes import bytes_of, shortened
from striate.compression.retrain import base_recipe
from striate.compression.steps import (
    DenseSparseDense,
    Distil,
    FewValues,
    Int8,
    LowRank,
    Prune,
    PruneChannels,
    Share,
    Step,
)
from striate.compression.work import Work
from striate.data.cache import write_atomically
from striate.data.opening import Access
from striate.errors import InputError
from striate.networks.catalogue import entry_for, names_network
from striate.tasks.model import Model, load_model
from striate.training.observer import Observer, SilentObserver
from striate.units import percent
from striate.weights.compressed_file import CodingFigures
from striate.weights.loading import packaged_weights
from striate.weights.model_file import MODEL_FILE


@dataclass(frozen=True)
class Compressed:
    """The compressed file, its ledger (the original first), what coding made of it, and how many times smaller it is
    than the original's parameters in 32 bits. `split` is the part of the source that was measured on.
    """

    path: Path
    ledger: tuple[LedgerLine, ...]
    coding: CodingFigures
    ratio: float
    source: str
    split: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": str(self.path),
            "ratio": self.ratio,
            "source": self.source,
            "split": self.split,
            "ledger": [line.to_json() for line in self.ledger],
            "coding": asdict(self.coding),
        }


def compress(
    model: str | Path,
    source: str | Path | None,
    out: str | Path,
    steps: Sequence[Step] | None = None,
    *,
    ratio: float | None = None,
    budget: int | None = None,
    coder: str = "range",
    access: Access | None = None,
    device: str = "cpu",
    observer: Callable[[], Observer] = SilentObserver,
) -> Compressed:
    """Compress the model that `load_model` takes, with images of `source` (those it was trained on without one), into
    the file `out`.

    `steps` are taken in order; without any they are those of deep compression, with `ratio` as the aim, or `budget`
    bytes. Each step is retrained on the source's training part where it has one, chosen by its validation part, and
    measured on its test part. A folder beside `out` holds what is done while it lasts: the same call after a kill goes
    on from there. Raises InputError, DataError or ModelFileError, each one line.

    `coder` is "range", the smaller, or "huffman", the paper's.
    """
    access, out = access or Access(), Path(out)
    if out.is_dir():
        raise InputError(f"{out} is a folder; name the file that the compressed model is to be written to")
    loaded = load_model(model, device=device, download=access.download, log=access.log)
    _check_classifier(loaded, model)
    images = open_images(loaded, source, access)
    num_bytes = num_bytes_of(loaded)
    if budget is not None:
        ratio = num_bytes / budget
    if steps is None:
        steps = deep_steps(loaded, images, ratio=ratio, track=access.track)
    if not images.can_train:
        access.log(
            f"{images.source} has no training and validation part: nothing is retrained on labels, and figures are of "
            "all its images"
        )
    work = Work(out.with_name(f".{out.name}.steps"), loaded, images, steps, access, observer)
    original = original_of(loaded, images, track=access.track)
    ledger = [measure("original", loaded, _file_of(model), images, original, track=access.track)]
    current = dataclasses.replace(
        loaded, network=copy.deepcopy(loaded.network), provenance=shortened(loaded.provenance)
    )
    recipe = base_recipe(loaded, images) if images.can_train else None
    for number, step in enumerate(steps):
        path = work.path_of(number, step)
        if not path.is_file():
            access.log(_describe(step))
            current = work.take(number, step, current, recipe)
            write_atomically(path, bytes_of(current, coder=coder)[0])
        current = load_model(path, device=device)
        ledger.append(_measured(step.name, current, path, images, original, access))
    data, coding = bytes_of(current, coder=coder)
    try:
        write_atomically(out, data)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}; name another file with --out") from None
    shutil.rmtree(work.folder, ignore_errors=True)
    return Compressed(out, tuple(ledger), coding, num_bytes / len(data), images.source, images.split)


def _measured(
    name: str, model: Model, path: Path, images: CompressionImages, original: Original, access: Access
) -> LedgerLine:
    line = measure(name, model, path, images, original, track=access.track)
    access.log(
        f"{name}: {line.file_bytes:,} bytes, accuracy {percent(line.top1_accuracy)}, agrees on "
        f"{percent(line.agreement)}"
    )
    return line


def _describe(step: Step) -> str:
    match step:
        case Prune():
            rounds = f"{step.rounds} rounds of {step.epochs} epochs, the last of {step.last_epochs}"
            return f"prune: {percent(step.sparsity, 1)} of the weights, scope {step.scope}, {rounds}"
        case Int8():
            return f"int8: weights of 8 bits, a scale a channel, biases corrected, {step.epochs} epochs"
        case PruneChannels():
            return f"channels: down to {percent(step.macs, 0)} of the multiply-adds, {step.epochs} epochs"
        case LowRank():
            return f"low-rank: factors that keep {percent(step.energy, 1)} of the squares, {step.epochs} epochs"
        case FewValues():
            return f"{step.kind}: weights of few values, {step.epochs} epochs"
        case Distil():
            return (
                f"distil: {step.network or 'the model'} from {step.teacher} at temperature {step.temperature:g}, "
                f"{step.epochs} epochs"
            )
        case DenseSparseDense():
            return (
                f"dsd: {percent(step.sparsity, 0)} pruned, {step.epochs} epochs, and {step.epochs} epochs with all "
                "weights"
            )
        case Share():
            bits = f"{step.conv_bits} bits a convolution's weight, {step.dense_bits} a dense layer's"
            if step.layer_values:
                counts = step.layer_values.values()
                bits = f"{min(counts)} to {max(counts)} values a layer"
            return f"share: {bits}, {step.epochs} epochs"


def _file_of(ref: str | Path) -> Path:
    """The file on disk that a MODEL means."""
    path = Path(ref)
    name, _, weights = str(ref).partition(":")
    candidates = [path / MODEL_FILE, path, Path(weights).expanduser()]
    if names_network(name) and weights:
        candidates += [packaged_weights(entry_for(name), weights) or path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(f"{ref} is no file on this disk, so its bytes cannot be counted; name a file or a run folder")


def _check_classifier(model: Model, ref: str | Path) -> None:
    """Raise InputError for a model of another task."""
    if not model.task.has_probabilities:
        raise InputError(f"compressing and its ledger are for classifiers but {ref} is for {model.task.name}")


def ledger(
    models: Sequence[str | Path],
    source: str | Path | None = None,
    *,
    access: Access | None = None,
    device: str = "cpu",
) -> tuple[LedgerLine, ...]:
    """A line for each model, each compared with the first, on the test part of `source` (the first one's own data
    without one).

    They must answer for the same classes. Raises as `compress` does.
    """
    access = access or Access()
    if not models:
        raise InputError("name at least one model for the ledger")
    first = load_model(models[0], device=device, download=access.download, log=access.log)
    _check_classifier(first, models[0])
    images = open_images(first, source, access)
    original = original_of(first, images, track=access.track)
    lines = []
    for number, ref in enumerate(models):
        model = load_model(ref, device=device, download=access.download, log=access.log) if number else first
        if model.class_names != first.class_names:
            raise InputError(
                f"{ref} answers for other classes than {models[0]}; a ledger compares models of the same ones"
            )
        own = (
            images
            if model.preprocessing == first.preprocessing
            else _prepared_for(model, images, source, first, access)
        )
        lines.append(measure(str(ref), model, _file_of(ref), own, original, track=access.track))
    return tuple(lines)


def _prepared_for(
    model: Model, images: CompressionImages, source: str | Path | None, first: Model, access: Access
) -> CompressionImages:
    """The same images as another model wants them."""
    as_first = dataclasses.replace(model, provenance=first.provenance)
    own = open_images(as_first, source, access)
    if len(own.test) != len(images.test) or (own.test != images.test).any():
        raise InputError("the models do not read the same images; name a SOURCE that both can read")
    return own
