"""Accuracy of a classifier on corrupted images, corruption by corruption and severity by severity."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from striate.data.opening import Access
from striate.data.sampling import read_batch
from striate.errors import InputError
from striate.evaluation.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, check_corruptions, corrupt
from striate.evaluation.evaluate_model import choose_part
from striate.notebook import Shown
from striate.tasks.intervals import fraction_of
from striate.tasks.model import Model
from striate.units import percent

_EXAMPLE_SEVERITY = 3


@dataclass(frozen=True)
class CorruptedAccuracy:
    """Accuracy under one corruption at one severity, with its 95 % Wilson interval."""

    corruption: str
    severity: int
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True, repr=False)
class CorruptedEvaluation(Shown):
    """Accuracy on `num_images` images of a part of a source, as they are (`clean`) and corrupted.

    `mean_error` is the mean error over all corruptions and severities, 1 minus accuracy. `examples` (h, w, 3) uint8 are
    one image at severity 3, a corruption each.
    """

    source: str
    split: str
    num_images: int
    clean: float
    clean_interval: tuple[float, float]
    mean_error: float
    rows: tuple[CorruptedAccuracy, ...]
    examples: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        return "striate evaluation under corruptions", (
            ("source", self.source),
            ("images", f"{self.num_images:,}"),
            ("accuracy", percent(self.clean)),
            ("mean accuracy corrupted", percent(1 - self.mean_error)),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions, in order."""
        return tuple(dict.fromkeys(row.corruption for row in self.rows))

    def of(self, corruption: str) -> list[CorruptedAccuracy]:
        """The five rows of one corruption."""
        return [row for row in self.rows if row.corruption == corruption]

    def by_group(self) -> dict[str, list[float]]:
        """Mean accuracy of each group of corruptions at severities 0 (as they are) to 5."""
        found = {}
        for group, names in GROUPS.items():
            own = [row for row in self.rows if row.corruption in names]
            if own:
                found[group] = [
                    self.clean,
                    *(float(np.mean([row.accuracy for row in own if row.severity == each])) for each in SEVERITIES),
                ]
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the examples."""
        names = ("source", "split", "num_images", "clean", "mean_error")
        return {
            **{name: getattr(self, name) for name in names},
            "clean_interval": list(self.clean_interval),
            "by_group": self.by_group(),
            "rows": [asdict(row) for row in self.rows],
        }


def evaluate_corrupted(
    model: Model,
    source: str | Path | None = None,
    *,
    corruptions: tuple[str, ...] = CORRUPTIONS,
    split: str | None = None,
    limit: int = 100,
    seed: int = 0,
    batch_size: int = 256,
    access: Access | None = None,
) -> CorruptedEvaluation:
    """Measure a classifier on up to `limit` images, drawn by the seed, of a part of a source: as they are and
    corrupted.

    What is corrupted is the crop that the network sees, as for ImageNet-C. Without a source it is the test part of the
    model's own training. InputError for a model of another task, images that are neither grey nor colour, or a
    corruption that is not there.

    `corruptions` are names of CORRUPTIONS, all by default.
    """
    access = access or Access()
    if not model.task.has_probabilities:
        raise InputError(f"corruptions are measured for classifiers but this model is for {model.task.name}")
    if not corruptions or limit < 1:
        raise InputError("name at least one corruption, and a limit of at least one image")
    check_corruptions(corruptions)
    part = choose_part(model, source, split, access, prefer=("test", "validation"))
    indices = part.indices[part.packed.usable[part.indices]]
    indices = np.sort(np.random.default_rng(seed).permutation(indices)[:limit])
    if not len(indices):
        raise InputError("there is no readable image to evaluate on; name another split or source")
    pixels = read_batch(part.packed, indices, model.preprocessing.crop_size).permute(0, 2, 3, 1).numpy()
    labels = part.labels[indices]
    clean = fraction_of(_num_right(model, pixels, labels, batch_size), len(indices))
    rows, examples = [], {}
    jobs = [(name, severity) for name in corruptions for severity in SEVERITIES]
    for name, severity in access.track(jobs, "corrupting", len(jobs)):
        worse = np.stack(
            [
                corrupt(image, name, severity, seed=seed + int(index))
                for image, index in zip(pixels, indices, strict=True)
            ]
        )
        share = fraction_of(_num_right(model, worse, labels, batch_size), len(indices))
        rows.append(CorruptedAccuracy(name, severity, share.value, share.interval))
        if severity == _EXAMPLE_SEVERITY:
            examples[name] = _as_rgb(worse[0])
    return CorruptedEvaluation(
        source=part.dataset.source,
        split=part.split,
        num_images=len(indices),
        clean=clean.value,
        clean_interval=clean.interval,
        mean_error=1 - float(np.mean([row.accuracy for row in rows])),
        rows=tuple(rows),
        examples={"as it is": _as_rgb(pixels[0]), **examples},
    )


def _num_right(model: Model, pixels: np.ndarray, labels: np.ndarray, batch_size: int) -> int:
    right = 0
    for start in range(0, len(pixels), batch_size):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + batch_size])).permute(0, 3, 1, 2)
        predicted = model.probabilities(batch).argmax(dim=1).numpy()
        right += int((predicted == labels[start : start + batch_size]).sum())
    return right


def _as_rgb(image: np.ndarray) -> np.ndarray:
    return image if image.shape[2] == 3 else np.repeat(image[..., :1], 3, axis=2)
