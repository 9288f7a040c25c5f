"""Compress a model step by step: each step retrained where there are images for it, written to a file, and measured from that file."""

import copy
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from striate.compression.deep import deep_steps, num_bytes_of, share_by
from striate.compression.images import CompressionImages, open_images
from striate.compression.ledger import LedgerLine, Original, measure, original_of
from striate.compression.model_bytes import bytes_of, shortened
from striate.compression.prune import prune, sparsity_of
from striate.compression.retrain import base_recipe, retrain, with_rate
from striate.compression.share import round_to_half
from striate.compression.steps import Prune, Share, Step
from striate.data.cache import write_atomically
from striate.data.opening import Access
from striate.errors import InputError, StriateError
from striate.tasks.model import Model, load_model
from striate.training.observer import Observer, SilentObserver
from striate.weights.compressed_file import CodingFigures
from striate.weights.model_file import MODEL_FILE

PRUNE_RATE, SHARE_RATE = 0.5, 0.02
"""Peak rates of retraining, as parts of the rate that the model was trained with."""


@dataclass(frozen=True)
class Compressed:
    """The compressed file, its ledger (the original first), what coding made of it, and how many times smaller it is than the
    original's parameters in 32 bits. `split` is the part of the source that was measured on.
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
    coder: str = "range",
    access: Access | None = None,
    device: str = "cpu",
    observer: Callable[[], Observer] = SilentObserver,
) -> Compressed:
    """Compress the model that `load_model` takes, with images of `source` (those it was trained on without one), into the file `out`.

    `steps` are taken in order; without any they are those of deep compression, with `ratio` as the aim. Each step is retrained on
    the source's training part where it has one, chosen by its validation part, and measured on its test part. A folder beside `out`
    holds what is done while it lasts: the same call after a kill goes on from there. Raises InputError, DataError or
    ModelFileError, each one line.
    """
    access, out = access or Access(), Path(out)
    if out.is_dir():
        raise InputError(f"{out} is a folder; name the file that the compressed model is to be written to")
    loaded = load_model(model, device=device, download=access.download, log=access.log)
    images = open_images(loaded, source, access)
    num_bytes = num_bytes_of(loaded)
    if steps is None:
        steps = deep_steps(loaded, images, ratio=ratio, track=access.track)
    if not images.can_train:
        access.log(
            f"{images.source} has no training and validation part: nothing is retrained, and figures are of all its images"
        )
    work = _Work(out.with_name(f".{out.name}.steps"), loaded, images, steps, access, observer)
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


class _Work:
    """What a compression has done so far, in a folder of its own that another call with the same wishes goes on with."""

    def __init__(
        self,
        folder: Path,
        model: Model,
        images: CompressionImages,
        steps: Sequence[Step],
        access: Access,
        observer: Callable[[], Observer],
    ) -> None:
        self.folder, self.images, self.access, self.observer = folder, images, access, observer
        wishes = json.dumps([{"kind": type(step).__name__, **asdict(step)} for step in steps], sort_keys=True)
        digest = hashlib.sha256(wishes.encode() + bytes_of(model)[0] + images.test.tobytes() + images.train.tobytes())
        identity = digest.hexdigest()
        marker = folder / "identity"
        if folder.exists() and (not marker.is_file() or marker.read_text() != identity):
            shutil.rmtree(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(marker, identity.encode())
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error.strerror}; name another file with --out") from None

    def path_of(self, number: int, step: Step) -> Path:
        return self.folder / f"{number}-{step.name}.striate"

    def take(self, number: int, step: Step, model: Model, recipe: Any) -> Model:
        """The model after one step."""
        match step:
            case Prune():
                self._prune(number, step, model, recipe)
            case Share():
                share_by(model, step)
                if recipe is not None and step.epochs:
                    recipe = with_rate(recipe, epochs=step.epochs, rate_factor=SHARE_RATE)
                    retrain(model, self.images, recipe, self._run_dir(number, 0), observer=self.observer())
                round_to_half(model.network)
        return model

    def _prune(self, number: int, step: Prune, model: Model, recipe: Any) -> None:
        """A little more in each round, so that as large a part of what is left goes in each."""
        first = sparsity_of(model.network)
        if step.sparsity < first:
            self.access.log(f"{100 * first:.1f} % of the weights are zero already: nothing is pruned")
            return
        if recipe is None:
            prune(model.network, step.sparsity, scope=step.scope)
            return
        for done in range(1, step.rounds + 1):
            kept = (1 - first) * ((1 - step.sparsity) / (1 - first)) ** (done / step.rounds)
            prune(model.network, 1 - kept, scope=step.scope)
            if epochs := step.epochs if done < step.rounds else step.last_epochs:
                this = with_rate(recipe, epochs=epochs, rate_factor=PRUNE_RATE)
                retrain(model, self.images, this, self._run_dir(number, done), observer=self.observer())

    def _run_dir(self, number: int, part: int) -> Path:
        folder = self.folder / f"{number}-{part}"
        folder.mkdir(exist_ok=True)
        return folder


def _measured(
    name: str, model: Model, path: Path, images: CompressionImages, original: Original, access: Access
) -> LedgerLine:
    line = measure(name, model, path, images, original, track=access.track)
    access.log(
        f"{name}: {line.file_bytes:,} bytes, accuracy {100 * line.top1_accuracy:.2f} %, agrees on {100 * line.agreement:.2f} %"
    )
    return line


def _describe(step: Step) -> str:
    match step:
        case Prune():
            rounds = f"{step.rounds} rounds of {step.epochs} epochs, the last of {step.last_epochs}"
            return f"prune: {100 * step.sparsity:.1f} % of the weights, scope {step.scope}, {rounds}"
        case Share():
            bits = f"{step.conv_bits} bits a convolution's weight, {step.dense_bits} a dense layer's"
            if step.layer_values:
                counts = step.layer_values.values()
                bits = f"{min(counts)} to {max(counts)} values a layer"
            return f"share: {bits}, {step.epochs} epochs"


def _file_of(ref: str | Path) -> Path:
    """The file on disk that a MODEL means."""
    path = Path(ref)
    candidates = (path / MODEL_FILE, path, Path(str(ref).partition(":")[2]).expanduser())
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise StriateError(f"{ref} is no file on this disk, so its bytes cannot be counted; name a file or a run folder")
