"""How small a model can be for what it may lose: deep compression at growing ratios, chosen by validation images."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from striate.compression.answers import answers_to
from striate.compression.compress import Compressed, compress
from striate.compression.deep import deep_steps
from striate.compression.images import CompressionImages, open_images
from striate.compression.steps import Prune, Step
from striate.data.cache import make_folder, write_atomically
from striate.data.opening import Access
from striate.errors import InputError
from striate.evaluation.evaluate_network import plain_batches
from striate.tasks.model import Model, load_model
from striate.training.observer import Observer, SilentObserver
from striate.units import percent

SHRINK = 0.7
"""Each try keeps so much of the weights that the one before kept."""
MOST_TRIES = 6
UNITS = {"B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "KiB": 1 << 10, "MiB": 1 << 20}


@dataclass(frozen=True)
class Try:
    """One point of the frontier: the fraction of weights pruned, bytes on disk, accuracy on the validation part, and
    whether it may be chosen.
    """

    sparsity: float
    file_bytes: int
    validation_accuracy: float
    is_within: bool


@dataclass(frozen=True)
class Frontier:
    """The smallest model that loses no more than was allowed, and all that was tried. `original_accuracy` is on the
    validation part.
    """

    chosen: Compressed
    original_bytes: int
    original_accuracy: float
    tries: tuple[Try, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values: those of the chosen model, and "frontier"."""
        tries = [asdict(each) for each in self.tries]
        frontier = {"original_bytes": self.original_bytes, "original_accuracy": self.original_accuracy, "tries": tries}
        return {**self.chosen.to_json(), "frontier": frontier}


def parse_size(text: str) -> int:
    """Bytes of "100kB", "1.5MB" or "4000"; InputError for anything else."""
    if text.strip().endswith("s"):
        raise InputError(
            f"a budget is a size such as 100kB or 1.5MB, but is {text!r}; for a faster model use --channels 0.5; the "
            "ledger has its ms"
        )
    number = text.strip().rstrip("BkKMi")
    unit = text.strip()[len(number) :] or "B"
    try:
        size = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        raise InputError(f"a budget is a size such as 100kB or 1.5MB, but is {text!r}") from None
    if not 1 <= size < 1e15:
        raise InputError(f"a budget must be at least one byte but is {text!r}")
    return int(size)


def smallest_within(
    model: str | Path,
    source: str | Path | None,
    out: str | Path,
    max_drop: float,
    *,
    coder: str = "range",
    access: Access | None = None,
    device: str = "cpu",
    observer: Callable[[], Observer] = SilentObserver,
) -> Frontier:
    """The smallest deep-compressed file whose accuracy on the validation part lies no more than `max_drop` percentage
    points below the model's.

    Tries prune more and more, until one loses too much. The test part has no say; the ledger is measured on it. Raises
    as `compress` does, and InputError where already the first try loses too much, or nothing can be retrained.
    """
    if not 0 <= max_drop <= 100:
        raise InputError(f"the accuracy that may be lost is in percentage points from 0 to 100 but is {max_drop:g}")
    access, out = access or Access(), Path(out)
    loaded = load_model(model, device=device, download=access.download, log=access.log)
    images = open_images(loaded, source, access)
    if not images.can_train:
        raise InputError(
            f"{images.source} has no training and validation part, so nothing can be searched on it; use --budget"
        )
    steps = deep_steps(loaded, images, track=access.track)
    before, tries = validation_accuracy(loaded, images), list[Try]()
    best: Compressed | None = None
    folder = out.with_name(f".{out.name}.tries")
    make_folder(folder)
    for number in range(MOST_TRIES):
        path = folder / f"{number}.striate"
        own = [_pruned_more(step, SHRINK**number) for step in steps]
        result = compress(model, source, path, own, coder=coder, access=access, device=device, observer=observer)
        accuracy = validation_accuracy(load_model(path, device=device), images)
        is_within = accuracy >= before - max_drop / 100
        sparsity = next((step.sparsity for step in own if isinstance(step, Prune)), 0.0)
        tries.append(Try(sparsity, os.path.getsize(path), accuracy, is_within))
        access.log(f"{percent(sparsity)} pruned: {tries[-1].file_bytes:,} bytes, validation {percent(accuracy)}")
        if not is_within:
            break
        best = result
    if best is None:
        raise InputError(
            f"already the first try, {tries[0].file_bytes:,} bytes, loses "
            f"{100 * (before - tries[0].validation_accuracy):.2f} points on "
            f"the validation part; allow more than --max-drop {max_drop:g}"
        )
    write_atomically(out, best.path.read_bytes())
    shutil.rmtree(folder, ignore_errors=True)
    chosen = dataclasses.replace(best, path=out)
    return Frontier(chosen, best.ledger[0].file_bytes, before, tuple(tries))


def validation_accuracy(model: Model, images: CompressionImages) -> float:
    """The fraction of validation images that a model answers with their class."""
    indices = images.validation
    batches = plain_batches(images.packed, indices, model.preprocessing, 256, model.device)
    answers = answers_to(model.network, batches, images.labels[indices])
    return float((answers.predicted == answers.labels).mean())


def _pruned_more(step: Step, kept: float) -> Step:
    """The step, keeping so much of what it kept."""
    return dataclasses.replace(step, sparsity=1 - (1 - step.sparsity) * kept) if isinstance(step, Prune) else step
