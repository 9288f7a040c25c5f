"""The proof that an exported file answers as the model does: run both on the same real images and compare. K
classes.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from striate.errors import InputError
from striate.export.parity_images import ParityBatch, parity_batches
from striate.export.running import Runner
from striate.tasks.catalogue import USUAL_TASK
from striate.tasks.model import Model

TOLERANCE = 1e-4
"""Largest difference of a probability where no image is resized. Both compute in float32, in another order of sums;
what that does to a probability is 1e-7 to 1e-5.
"""
RESIZED_TOLERANCE = 1e-2
"""The same where the model resizes. A pixel that lies at half a grey level may be rounded to the other side (see
resampling.py), and a network may turn single grey levels in some pixels into some thousandths of a probability: 0.003
with SqueezeNet on photos, where another filter or order of passes makes 0.012 and more.
"""


@dataclass(frozen=True)
class Disagreement:
    """An image of which the two say different things, and how far the model is from saying another: see
    `Task.margin`.
    """

    size: tuple[int, int]
    model: str
    exported: str
    margin: float


@dataclass(frozen=True)
class ParityCheck:
    """The result of comparing an exported file with its model, image by image.

    Differences are the largest of any probability of any image: `largest_difference` where no image had to be resized,
    `largest_resized_difference` where all had (None where none was tried). `ties` are images whose best class is
    another although the model's two best are no further apart than the tolerance: neither answer is more right than the
    other, so they are reported but do not fail the proof. `disagreements` are all others. `problems` are what differs
    in what the file says of itself; where they make running it senseless, no image is compared. `temperatures` are the
    model's and the file's.
    """

    engine: str
    num_answers: int
    num_equal_top1: int
    largest_difference: float | None
    largest_resized_difference: float | None
    sizes: tuple[tuple[int, int], ...]
    batch_sizes: tuple[int, ...]
    ties: tuple[Disagreement, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    problems: tuple[str, ...] = ()
    temperatures: tuple[float, float] | None = None

    @property
    def passed(self) -> bool:
        """Whether the file may stand for the model."""
        near = (self.largest_difference or 0) <= TOLERANCE and (
            self.largest_resized_difference or 0
        ) <= RESIZED_TOLERANCE
        return self.num_answers > 0 and near and not self.disagreements and not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain values: every field, the two tolerances, and "passed"."""
        tolerances = {"tolerance": TOLERANCE, "resized_tolerance": RESIZED_TOLERANCE}
        return {"passed": self.passed, **asdict(self), **tolerances}


def verify(model: Model, runner: Runner, images: list[np.ndarray]) -> ParityCheck:
    """Compare an opened export with its model on images (H, W, C) uint8 of any sizes.

    Each is tried alone and in batches of 2 and 5. Raises InputError where the model itself answers NaN.
    """
    problems = _problems(model, runner.about)
    if any(problem.is_fatal for problem in problems):
        words = tuple(problem.words for problem in problems)
        return ParityCheck(runner.engine, 0, 0, None, None, (), (), problems=words)
    batches = parity_batches(images, model.preprocessing, resize=runner.about["resize_inside"])
    compared = [_compare(model, runner, batch) for batch in batches]
    plain = [each.largest_difference for each in compared if not each.batch.is_resized]
    resized = [each.largest_difference for each in compared if each.batch.is_resized]
    changed = [one for each in compared for one in each.changed]
    num_answers = sum(len(batch.images) for batch in batches)
    return ParityCheck(
        engine=runner.engine,
        num_answers=num_answers,
        num_equal_top1=num_answers - len(changed),
        largest_difference=max(plain, default=None),
        largest_resized_difference=max(resized, default=None),
        sizes=tuple(sorted({batch.images.shape[1:3] for batch in batches})),
        batch_sizes=tuple(sorted({len(batch.images) for batch in batches})),
        ties=tuple(one for one, limit in changed if one.margin <= limit),
        disagreements=tuple(one for one, limit in changed if not one.margin <= limit),
        problems=tuple(problem.words for problem in problems),
        temperatures=(model.temperature, runner.about.get("temperature", 1.0)),
    )


@dataclass(frozen=True)
class _Problem:
    words: str
    is_fatal: bool


@dataclass(frozen=True, eq=False)
class _Compared:
    batch: ParityBatch
    largest_difference: float
    changed: list[tuple[Disagreement, float]]


def _problems(model: Model, about: dict[str, Any]) -> list[_Problem]:
    """Differences between the file's description and the model. Unlike channels or class counts cannot be run."""
    problems = []
    if list(about.get("class_names", ())) != list(model.class_names):
        count = len(about.get("class_names", ()))
        words = f"its {count} class names are not the model's {len(model.class_names)}, or in another order"
        problems.append(_Problem(words, count != len(model.class_names)))
    own_task = {"name": model.task.name, "settings": _as_json(model.task.settings())}
    if about.get("task", {"name": USUAL_TASK, "settings": {}}) != own_task:
        problems.append(_Problem(f"its task is not the model's, {model.task.name}", True))
    if about.get("preprocessing") != _as_json(model.preprocessing.to_json()):
        theirs, ours = about.get("preprocessing") or {}, _as_json(model.preprocessing.to_json())
        names = ", ".join(sorted(name for name in ours if theirs.get(name) != ours[name]))
        is_fatal = any(theirs.get(name) != ours[name] for name in ("channels", "crop_size"))
        problems.append(_Problem(f"its preprocessing is not the model's: {names} differ", is_fatal))
    made_at = about.get("temperature")
    if made_at != model.temperature:
        words = f"it was made at temperature {made_at}, and the model's is {model.temperature:g} now; export it again"
        problems.append(_Problem(words, is_fatal=False))
    return problems


def _as_json(values: dict[str, Any]) -> dict[str, Any]:
    """As they come back from JSON: tuples as lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _compare(model: Model, runner: Runner, batch: ParityBatch) -> _Compared:
    """The answers of both to one batch: the largest difference, and what the best classes became."""
    pixels = np.stack([model.preprocessing.to_pixels(image) for image in batch.images])
    expected = model.probabilities(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    if not np.isfinite(expected).all():
        raise InputError(
            f"{model.network_name} answers NaN, so that nothing can be compared with it; its weights may be damaged"
        )
    answered = runner.run(batch.images)
    difference = float(model.task.differences(answered, expected).max())
    difference = difference if math.isfinite(difference) else math.inf
    limit = RESIZED_TOLERANCE if batch.is_resized else TOLERANCE
    same = (
        model.task.same_answers(answered, expected)
        if answered.shape == expected.shape
        else np.zeros(len(expected), bool)
    )
    changed = [
        (_disagreement(model, expected[place], answered[place], batch.images.shape[1:3]), limit)
        for place in np.flatnonzero(~same)
    ]
    return _Compared(batch, difference, changed)


def _disagreement(model: Model, expected: np.ndarray, answered: np.ndarray, size: tuple[int, int]) -> Disagreement:
    task = model.task
    return Disagreement(size, task.words(expected), task.words(answered), task.margin(expected))
