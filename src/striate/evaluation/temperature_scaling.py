"""Temperature scaling: one number that calibrates a classifier's probabilities (Guo et al. 2017, arXiv:1706.04599,
section 4.2).

Logits are divided by a temperature before the softmax. It is the one with the least negative log-likelihood on images
that the network was not trained on. No answer changes, only how sure it is. N images, K classes.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional as F

from striate.data.opening import Access
from striate.errors import InputError, NonFiniteLoss
from striate.evaluation.evaluate_model import ALL, Part, choose_part
from striate.evaluation.evaluate_network import plain_batches
from striate.networks.restore import evaluating
from striate.progress import Track
from striate.tasks.classification.logits import class_logits, first_best, rank_of_labels
from striate.tasks.classification.metrics import Answers, calibration_bins, calibration_error
from striate.tasks.model import Model
from striate.units import counted

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures outside are not looked for: beyond, nothing is sure or everything is."""
FEWEST_IMAGES = 30
MOST_LOGITS = 50_000_000
"""Of more answers than so many numbers, images evenly spread are enough: it is one number that is to be found."""
MOST_KNOWN = 0.05
"""Fraction of the images that may be training images, copies that lie in both parts for instance."""
_CHI_SQUARED = 3.841459
"""The 95 % quantile for one parameter."""


@dataclass(frozen=True)
class CalibrationMetrics:
    """Calibration figures: mean negative log-likelihood in nats, expected calibration error in [0, 1]."""

    negative_log_likelihood: float
    calibration_error: float


@dataclass(frozen=True)
class Fit:
    """The temperature a model had and the one that was found, with its 95 % interval, and how it fares with both on the
    images it was found on.
    """

    source: str
    split: str
    num_images: int
    temperature_before: float
    temperature: float
    interval: tuple[float, float]
    before: CalibrationMetrics
    after: CalibrationMetrics

    @property
    def is_change(self) -> bool:
        """Whether the images tell that the temperature should be another than it was."""
        return not self.interval[0] <= self.temperature_before <= self.interval[1]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


def calibrate(
    model: Model,
    source: str | Path | None = None,
    *,
    split: str | None = None,
    batch_size: int = 256,
    access: Access | None = None,
) -> tuple[Model, Fit]:
    """The model with the temperature that suits it best, and what that changes; the network is the same object. Where
    the images do not tell the new temperature from the old one, the model itself comes back.

    Without a source the images are the validation part of the model's own training; of another, its validation part
    where it has one, else all. InputError for images that the model was trained on, for fewer than thirty, and where it
    makes no mistake among them; otherwise raises as `evaluate` does.
    """
    access = access or Access()
    if not model.task.has_probabilities:
        raise InputError(f"calibration is for classifiers but this model is for {model.task.name}")
    part = choose_part(model, source, split, access, prefer=("validation",))
    if part.is_own and part.split in ("train", ALL):
        raise InputError(
            f"the {part.split} part has images that the model was trained on, of which it is too sure; use validation"
        )
    if part.known is not None and part.known.num_found > MOST_KNOWN * part.known.num_told:
        raise InputError(
            f"{part.known.num_found:,} of {part.known.num_told:,} images of {part.dataset.source} ({part.split}) are "
            "among those that the model was trained on, of which it is too sure; name images that it has not seen"
        )
    logits, labels = _answers(model, part, batch_size, access.track)
    num_wrong = int((first_best(logits) != labels).sum())
    if len(labels) < FEWEST_IMAGES or num_wrong == 0:
        found = counted(len(labels), "image")
        why = f"{found} are fewer than {FEWEST_IMAGES}" if num_wrong else f"none of the {found} is misclassified"
        raise InputError(f"cannot fit a temperature: {why}; name a SOURCE with more images, or harder ones")
    temperature = fit_temperature(logits, labels)
    before, after = (_calibration_metrics(logits, labels, each) for each in (model.temperature, temperature))
    interval = likely_temperatures(logits, labels, temperature)
    fit = Fit(part.dataset.source, part.split, len(labels), model.temperature, temperature, interval, before, after)
    if not fit.is_change:
        return model, fit
    provenance = {**model.provenance, "calibration": fit.to_json()}
    return dataclasses.replace(model, temperature=temperature, provenance=provenance), fit


def calibration_metrics(
    model: Model, split: str, temperatures: tuple[float, ...], *, batch_size: int = 256, access: Access | None = None
) -> tuple[CalibrationMetrics, ...]:
    """Evaluate calibration on a split of the model's own training data at each of these temperatures. Raises as
    `evaluate`.
    """
    access = access or Access()
    part = choose_part(model, None, split, access, prefer=())
    logits, labels = _answers(model, part, batch_size, access.track)
    return tuple(_calibration_metrics(logits, labels, temperature) for temperature in temperatures)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature in [0.05, 20] with the least negative log-likelihood: logits (N, K), labels (N,) int64.

    The loss is convex in 1 / temperature, so there is one zero of its slope at most, which Brent's method finds.
    """
    logits = logits - logits.amax(dim=1, keepdim=True)  # what all classes share costs digits and means nothing
    own = logits.gather(1, labels[:, None])[:, 0].double().mean()

    def slope(inverse: float) -> float:
        """Of the loss by the inverse temperature."""
        means = ((logits * inverse).softmax(dim=1) * logits).sum(dim=1)
        return float(means.double().mean() - own)

    return 1 / _zero(slope, 1 / HIGHEST, 1 / LOWEST)


def likely_temperatures(logits: Tensor, labels: Tensor, best: float) -> tuple[float, float]:
    """The 95 % interval around the best temperature by the ratio of likelihoods (Wilks 1938), within [0.05, 20]."""
    allowed = _loss(logits, labels, best) + _CHI_SQUARED / 2 / len(labels)

    def excess(log_temperature: float) -> float:
        return _loss(logits, labels, math.exp(log_temperature)) - allowed

    low, middle, high = math.log(LOWEST), math.log(best), math.log(HIGHEST)
    below = LOWEST if excess(low) <= 0 else math.exp(_zero(lambda place: -excess(place), low, middle))
    above = HIGHEST if excess(high) <= 0 else math.exp(_zero(excess, middle, high))
    return min(below, best), max(above, best)


def _zero(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that rises from `low` to `high` is zero, to six digits; an end where it is so on one side
    only.
    """
    if function(low) >= 0:
        return low
    if function(high) <= 0:
        return high
    return float(brentq(function, low, high, xtol=1e-9, rtol=1e-6))


def _answers(model: Model, part: Part, batch_size: int, track: Track) -> tuple[Tensor, Tensor]:
    """Logits (N, K) float32 and labels (N,) of the readable images, on the CPU. NonFiniteLoss where one is not
    finite.
    """
    indices = part.indices[part.packed.usable[part.indices]]
    most = max(1_000, MOST_LOGITS // len(model.class_names))
    if len(indices) > most:
        indices = indices[np.linspace(0, len(indices) - 1, most).astype(np.int64)]
    if len(indices) == 0:
        raise InputError("there is no readable image to calibrate on; name another split or source")
    batches = plain_batches(part.packed, indices, model.preprocessing, batch_size, model.device)
    with evaluating(model.network), torch.inference_mode():
        parts = [
            class_logits(model.network(images)).float().cpu()
            for images in track(batches, "calibrating", -(-len(indices) // batch_size))
        ]
    logits = torch.cat(parts)
    if not logits.isfinite().all():
        raise NonFiniteLoss("the network answers some images with NaN or infinity; its weights are damaged")
    return logits, torch.from_numpy(part.labels[indices])


def _loss(logits: Tensor, labels: Tensor, temperature: float) -> float:
    losses = F.cross_entropy(logits / temperature, labels, reduction="none")
    return float(losses.double().mean())


def _calibration_metrics(logits: Tensor, labels: Tensor, temperature: float) -> CalibrationMetrics:
    logs = (logits / temperature).log_softmax(dim=1)
    losses = -logs.gather(1, labels[:, None])[:, 0]
    columns = (labels, first_best(logits), rank_of_labels(logits, labels), losses, logs.amax(dim=1).exp())
    answers = Answers(
        *(column.double().numpy() if column.is_floating_point() else column.numpy() for column in columns)
    )
    return CalibrationMetrics(float(answers.losses.mean()), calibration_error(calibration_bins(answers)))
