"""The matrix of who fools whom: images made on each model or learner, tried on every one. N images, S sources, T
targets.

Papernot, McDaniel & Goodfellow 2016 (arXiv:1605.07277, section 3) draw it for logistic regression, a support vector
machine, nearest neighbours, a decision tree and a network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from striate.baselines.learners import LEARNERS, Change, Learner, fit_learner, network_learner
from striate.data.opening import Access
from striate.data.sampling import read_batch
from striate.errors import InputError
from striate.evaluation.evaluate_model import choose_part, open_parts
from striate.robustness.attack_model import choose_images, read_images, seen_as
from striate.robustness.clean import clean_outputs
from striate.robustness.draws import image_keys
from striate.robustness.norms import NORMS, find_norm
from striate.robustness.request import check_epsilon
from striate.robustness.victim import open_victim
from striate.tasks.intervals import wilson_interval

NOISE = "random noise"
"""The last source of every matrix: a change as large in a random direction, the measure to compare with."""


@dataclass(frozen=True)
class Cell:
    """Of `num_correct` images that a target names correctly, the fraction that a source's changes undo, with its 95 %
    interval.
    """

    fooled: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Transferability:
    """`cells[s][t]`: images made on `sources[s]` tried on `targets[t]`, of accuracy `accuracies[t]` before. A source is
    a target too, but random noise is none, and a target that gives no gradients is no source.
    """

    source: str
    split: str
    num_images: int
    num_fitted: int
    norm: str
    epsilon: float
    method: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    accuracies: tuple[float, ...]
    num_correct: tuple[int, ...]
    cells: tuple[tuple[Cell, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `fooled` and `intervals` by source and target."""
        names = ("source", "split", "num_images", "num_fitted", "norm", "epsilon", "method")
        return {
            **{name: getattr(self, name) for name in names},
            "sources": list(self.sources),
            "targets": list(self.targets),
            "clean_accuracy": list(self.accuracies),
            "num_correct": list(self.num_correct),
            "fooled": [[cell.fooled for cell in row] for row in self.cells],
            "intervals": [[list(cell.interval) for cell in row] for row in self.cells],
        }


def transferability(
    models: Sequence[str | Path],
    source: str | Path | None = None,
    *,
    learners: Sequence[str] = LEARNERS,
    epsilon: float = 8 / 255,
    norm: str = "linf",
    method: str = "mi_fgsm",
    split: str | None = None,
    limit: int | None = 200,
    num_fitted: int = 5_000,
    seed: int = 0,
    names: Sequence[str] = (),
    device: str = "auto",
    access: Access | None = None,
) -> Transferability:
    """Make images on each of `models` and `learners` and try them on all. The first model says which classes there are
    and which size.

    `models` are what `load_model` takes, or exported files, which are only tried on. Learners ("softmax", "linear_svm",
    "knn", "tree") are fitted to up to `num_fitted` pixels of the training part; `limit` images of the part `split`
    (test by default) are changed, by at most `epsilon` in the `norm`, by an attack that follows gradients; of the tree
    by the smallest change into another leaf. `names` are shown for the models. Raises InputError and DataError as
    `attack` does.

    `method` is an attack such as "mi_fgsm" (which transfers best of the single ones), "pgd" or "fgsm".
    """
    access = access or Access()
    change = Change(epsilon, norm, method, seed)
    if norm not in NORMS or not math.isfinite(epsilon):
        raise InputError(
            f"changes are measured by {', '.join(NORMS)}, up to a finite epsilon, not {norm} and {epsilon:g}"
        )
    check_epsilon(epsilon, norm)
    if not models:
        raise InputError("name at least one model: it says which classes and which size of image are meant")
    victims = [open_victim(each, device=device, download=access.download, log=access.log) for each in models]
    first = victims[0].model
    part = choose_part(first, source, split, access, prefer=("test", "validation"))
    chosen = choose_images(part, limit, seed)
    images, labels = read_images(first, part, chosen)
    shown = tuple(names) or tuple(map(str, models))
    found = [
        network_learner(name, seen_as(first, victim, name), change) for name, victim in zip(shown, victims, strict=True)
    ]
    known, known_labels = (
        _training_pixels(first, source, chosen, num_fitted, seed, access) if learners else (images, labels)
    )
    num_classes = len(first.class_names)
    for name in access.track(list(learners), "fitting learners", len(learners)):
        found.append(fit_learner(name, known, known_labels, num_classes, change))
    made = _images_of(found, images, labels, change, access)
    accuracies, num_correct, columns = [], [], []
    for target in found:
        was_correct = clean_outputs(target.predict, images).argmax(dim=1) == labels
        total = int(was_correct.sum())
        accuracies.append(total / len(images))
        num_correct.append(total)
        columns.append([_cell(target, changed, labels, was_correct) for changed in made.values()])
    return Transferability(
        source=part.dataset.source,
        split=part.split,
        num_images=len(images),
        num_fitted=len(known) if learners else 0,
        norm=norm,
        epsilon=epsilon,
        method=method,
        sources=tuple(made),
        targets=tuple(each.name for each in found),
        accuracies=tuple(accuracies),
        num_correct=tuple(num_correct),
        cells=tuple(zip(*columns, strict=True)),
    )


def _images_of(
    found: Sequence[Learner], images: Tensor, labels: Tensor, change: Change, access: Access
) -> dict[str, Tensor]:
    """The images that each learner with gradients makes, and random noise, by name."""
    made = {}
    able = [each for each in found if each.make is not None]
    for each in access.track(able, "making images", len(able)):
        assert each.make is not None
        made[each.name] = each.make(images, labels)
    made[NOISE] = find_norm(change.norm).start(images, change.epsilon, image_keys(images, change.seed))
    return made


def _cell(target: Learner, changed: Tensor, labels: Tensor, was_correct: Tensor) -> Cell:
    fooled = (clean_outputs(target.predict, changed).argmax(dim=1) != labels) & was_correct
    hits, total = int(fooled.sum()), int(was_correct.sum())
    return Cell(hits / total, wilson_interval(hits, total)) if total else Cell(0.0, (0.0, 1.0))


def _training_pixels(
    model: Any, source: str | Path | None, changed: np.ndarray, num_fitted: int, seed: int, access: Access
) -> tuple[Tensor, Tensor]:
    """Pixels (n, C, H, W) in [0, 1] of the training part, or where there is none of all images but those `changed`, at
    the size that the model sees, and labels (n,).
    """
    opened = open_parts(model, source, access)
    indices = np.setdiff1d(opened.parts["train"] if len(opened.parts["train"]) else opened.parts["all"], changed)
    indices = indices[opened.packed.usable[indices] & (opened.labels[indices] >= 0)]
    if len(indices) < 2:
        raise InputError(
            f"{opened.dataset.source} has no images left that learners can be fitted to; lower the limit, or leave "
            "learners out"
        )
    indices = np.sort(np.random.default_rng(seed).permutation(indices)[:num_fitted])
    pixels = read_batch(opened.packed, indices, model.preprocessing.crop_size).float() / 255
    return pixels, torch.from_numpy(opened.labels[indices])
