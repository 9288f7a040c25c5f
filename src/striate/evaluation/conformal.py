"""Sets of classes that hold the right one as often as is asked for: split conformal prediction. N images, K classes.

Whatever the model, sets made with the threshold below hold the right class of a new image with at least the probability
`coverage`, as long as it comes from where the images came from that the threshold was found on (Vovk et al. 2005;
arXiv:2107.07511, section 1). "lac" holds every class whose probability is high enough, which makes the smallest sets
(Sadinle et al. 2019, arXiv:1609.00451); "aps" adds classes from the most probable one on until enough probability is
together (arXiv:2006.02544), which adapts to how hard an image is.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.opening import Access
from striate.errors import InputError
from striate.evaluation.class_probabilities import class_probabilities_of
from striate.evaluation.evaluate_model import ALL, choose_part
from striate.tasks.intervals import Fraction, fraction_of
from striate.tasks.model import Model

METHODS = ("lac", "aps")
FEWEST_IMAGES = 20


@dataclass(frozen=True)
class ConformalFit:
    """The threshold on scores for sets of this `coverage`, found on `num_images` images of a part of a source at a
    temperature.
    """

    coverage: float
    method: str
    threshold: float
    num_images: int
    source: str
    split: str
    temperature: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite threshold, which puts all classes into every set, is None."""
        return asdict(self) | {"threshold": self.threshold if math.isfinite(self.threshold) else None}

    @classmethod
    def from_json(cls, values: Any) -> "ConformalFit | None":
        """What `to_json` gave, or None where it is anything else: whoever wrote a provenance may have meant something
        of their own.
        """
        try:
            threshold = values["threshold"]
            fit = cls(
                coverage=float(values["coverage"]),
                method=str(values["method"]),
                threshold=math.inf if threshold is None else float(threshold),
                num_images=int(values["num_images"]),
                source=str(values["source"]),
                split=str(values["split"]),
                temperature=float(values["temperature"]),
            )
        except (TypeError, KeyError, ValueError):
            return None
        return fit if fit.method in METHODS and 0 < fit.coverage < 1 else None


@dataclass(frozen=True)
class SetFigures:
    """How sets fare on images with labels: `covered` with its 95 % Wilson interval, mean size, and the fraction with a
    single class.
    """

    fit: ConformalFit
    source: str
    split: str
    num_images: int
    covered: Fraction
    mean_size: float
    fraction_single: float
    largest: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "fit": self.fit.to_json()}


def check_coverage(coverage: float) -> None:
    """Raise InputError unless 0 < coverage < 1."""
    if not 0 < coverage < 1:
        raise InputError(f"coverage must lie between 0 and 1 but is {coverage:g}")


def conformal_scores(probabilities: np.ndarray, method: str = "lac") -> np.ndarray:
    """Scores (N, K) of probabilities (N, K): the higher, the less a class belongs to the image's set. InputError for
    another method.

    "lac": 1 - p. "aps": the probability of all classes more probable than this one, and its own; of equal ones the
    first comes first.
    """
    if method not in METHODS:
        raise InputError(f"the method must be {' or '.join(METHODS)} but is {method!r}")
    probabilities = np.asarray(probabilities, np.float64)
    if method == "lac":
        return 1 - probabilities
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(probabilities, order, axis=1), axis=1)
    scores = np.empty_like(sums)
    np.put_along_axis(scores, order, sums, axis=1)
    return scores


def conformal_threshold(scores: np.ndarray, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of the right classes' scores (n,); infinite where n is too small to
    promise anything.

    InputError unless 0 < coverage < 1.
    """
    check_coverage(coverage)
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    return math.inf if rank > len(scores) else float(np.partition(scores, rank - 1)[rank - 1])


def conformal_sets(
    probabilities: np.ndarray, threshold: float, method: str = "lac", *, allow_empty: bool = False
) -> np.ndarray:
    """Which classes belong to each image's set, (N, K) bool. The most probable class always does, unless `allow_empty`.

    With it coverage can only rise above what was asked for; without, it is met exactly, by sets of none where the model
    is certain.
    """
    sets = conformal_scores(probabilities, method) <= threshold
    if not allow_empty:
        sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets


def fit_conformal(
    model: Model,
    coverage: float,
    source: str | Path | None = None,
    *,
    split: str | None = None,
    method: str = "lac",
    batch_size: int = 256,
    access: Access | None = None,
) -> ConformalFit:
    """The threshold for sets of a coverage, found on images that the model was not trained on.

    Without a source these are the validation part of its own training, which also chose its epoch: a slight flattery
    that `evaluate_sets` on a test part would show. InputError for fewer than twenty images, or for the images that it
    was trained on.

    `coverage` in (0, 1) is how often sets shall hold the right class; `method` is "lac" (the smallest sets) or "aps"
    (fairer to hard classes).
    """
    access = access or Access()
    check_coverage(coverage)
    if not model.task.has_probabilities:
        raise InputError(f"sets of classes are for classifiers but this model is for {model.task.name}")
    part = choose_part(model, source, split, access, prefer=("validation",))
    if part.is_own and part.split in ("train", ALL):
        raise InputError(
            f"the {part.split} part has images that the model was trained on; sets need others: use validation"
        )
    indices = part.indices[part.packed.usable[part.indices]]
    if len(indices) < FEWEST_IMAGES:
        raise InputError(
            f"sets need at least {FEWEST_IMAGES} images with labels but there are {len(indices)}; name a SOURCE"
        )
    probabilities = class_probabilities_of(model, part.packed, indices, batch_size=batch_size, track=access.track)
    scores = conformal_scores(probabilities, method)[np.arange(len(indices)), part.labels[indices]]
    threshold = conformal_threshold(scores, coverage)
    return ConformalFit(coverage, method, threshold, len(indices), part.dataset.source, part.split, model.temperature)


def stored_conformal(model: Model, coverage: float, method: str = "lac") -> ConformalFit | None:
    """What `striate calibrate --coverage` stored in the model for this coverage, if anything, at the temperature that
    it has now.
    """
    for values in model.provenance.get("conformal", ()) or ():
        fit = ConformalFit.from_json(values)
        if fit and (fit.coverage, fit.method, fit.temperature) == (coverage, method, model.temperature):
            return fit
    return None


def evaluate_sets(
    model: Model,
    fit: ConformalFit,
    source: str | Path | None = None,
    *,
    split: str | None = None,
    batch_size: int = 256,
    access: Access | None = None,
) -> SetFigures:
    """How sets with the threshold of `fit` fare on a part of a source, by default the test part of the model's own
    training.

    InputError for the very part that the threshold was found on.
    """
    access = access or Access()
    part = choose_part(model, source, split, access, prefer=("test", "validation"))
    if (part.dataset.source, part.split) == (fit.source, fit.split):
        raise InputError(
            f"the sets were calibrated on the {fit.split} part of {fit.source}, where they hold by construction; name "
            "other images"
        )
    indices = part.indices[part.packed.usable[part.indices]]
    probabilities = class_probabilities_of(model, part.packed, indices, batch_size=batch_size, track=access.track)
    sets = conformal_sets(probabilities, fit.threshold, fit.method)
    sizes = sets.sum(axis=1)
    covered = int(sets[np.arange(len(sets)), part.labels[indices]].sum())
    return SetFigures(
        fit=fit,
        source=part.dataset.source,
        split=part.split,
        num_images=len(indices),
        covered=fraction_of(covered, len(indices)),
        mean_size=float(sizes.mean()),
        fraction_single=float((sizes == 1).mean()),
        largest=int(sizes.max()),
    )
