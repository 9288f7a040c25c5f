"""Compare classifiers on the same images: who is better, by how much, where they disagree, and on which group each is
worst.
"""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from striate.data.dataset import SPLITS
from striate.data.image_groups import group_numbers, image_groups
from striate.data.opening import Access
from striate.data.packed import PreparedImages
from striate.data.sketch import overlap
from striate.errors import DataError, InputError
from striate.evaluation.class_probabilities import class_probabilities_of
from striate.evaluation.evaluate_model import ALL, Parts, open_parts, own_data
from striate.evaluation.group_figures import GroupFigures, figures_by_group
from striate.evaluation.label_errors import thumbnail
from striate.evaluation.paired import accuracy_difference, holm, images_needed, mcnemar_p_value, mean_difference
from striate.notebook import Shown
from striate.tasks.intervals import fraction_of
from striate.tasks.labels import map_labels
from striate.tasks.model import Model, load_model
from striate.units import percent

_TINY = 1e-7
_LEVEL = 0.05


@dataclass(frozen=True)
class ComparedModel:
    """One of the models: accuracy with its 95 % Wilson interval, mean negative log-likelihood in nats, figures by
    group, worst first.
    """

    name: str
    network: str
    accuracy: float
    interval: tuple[float, float]
    negative_log_likelihood: float
    groups: tuple[GroupFigures, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two models on the same images: `first` and `second` are their places in the list.

    `difference` is the second's accuracy minus the first's, with a 95 % interval by the paired bootstrap; `p_value` is
    McNemar's exact one, `adjusted_p_value` that for all pairs together. `loss_difference` is of mean negative
    log-likelihoods in nats. So many `images_needed` would show such a difference with a chance of 80 %.
    """

    first: int
    second: int
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    difference: float
    interval: tuple[float, float]
    p_value: float
    adjusted_p_value: float
    loss_difference: float
    loss_interval: tuple[float, float]
    images_needed: int | None

    @property
    def is_told(self) -> bool:
        """Whether the images tell the two apart, at 5 % for all pairs together."""
        return self.adjusted_p_value < _LEVEL


@dataclass(frozen=True)
class Disagreement:
    """An image whose predictions differ in being right: `predictions` and `probabilities` are those of each model, by
    class name.
    """

    path: str
    index: int
    label: str
    predictions: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """Models on the same images of a source. `pairs` are all of them for up to four models, else each with the most
    accurate one.

    `disagreements` come with the most certain contradiction first; `thumbnails` (h, w, 3) uint8 go with the first of
    them. `notices` say what makes the comparison unfair.
    """

    source: str
    split: str
    num_images: int
    models: tuple[ComparedModel, ...]
    pairs: tuple[Pair, ...]
    disagreements: tuple[Disagreement, ...]
    group_by: str | None = None
    notices: tuple[str, ...] = ()
    thumbnails: tuple[np.ndarray, ...] = field(default=(), compare=False)

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        rows = [(each.name, percent(each.accuracy)) for each in self.models]
        return "striate comparison", (("source", self.source), ("images", f"{self.num_images:,}"), *rows)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the thumbnails."""
        return {
            **{name: getattr(self, name) for name in ("source", "split", "num_images", "group_by")},
            "notices": list(self.notices),
            "models": [asdict(each) for each in self.models],
            "pairs": [{**asdict(each), "is_told": each.is_told} for each in self.pairs],
            "disagreements": [asdict(each) for each in self.disagreements],
        }


def compare(
    models: Sequence[Model | str | Path],
    source: str | Path | None = None,
    *,
    split: str | None = None,
    group_by: str | None = None,
    names: Sequence[str] | None = None,
    num_thumbnails: int = 0,
    batch_size: int = 256,
    seed: int = 0,
    access: Access | None = None,
) -> Comparison:
    """Compare classifiers on the images of a source that belong to `split` for every one of them.

    Without a source it is the data of the first one's training. On data that a model was trained on, its own splits are
    made again, so that no image of its training is among those compared. `group_by` gives figures by group too (see
    data.image_groups); with it a single model will do. `names` are what the models are called, by default their paths.
    Raises as `evaluate` does, InputError for models of another task, and DataError where no image is left for all of
    them.

    `models` are two or more of what `load_model` takes; `num_thumbnails` of the images on which they disagree are kept
    as pictures, for a page.
    """
    access = access or Access()
    if not models or (len(models) < 2 and group_by is None):
        raise InputError("name two models or more to compare, or one with --group-by")
    loaded = [each if isinstance(each, Model) else load_model(each, log=access.log) for each in models]
    called = _names(models, loaded, names)
    for name, model in zip(called, loaded, strict=True):
        if not model.task.has_probabilities:
            raise InputError(f"compare is for classifiers but {name} is for {model.task.name}")
    if source is None and own_data(loaded[0].provenance) is None:
        raise InputError("the first model does not say which data it was trained on; name a SOURCE to compare on")
    opened: list[Parts] = []
    for model in loaded:
        opened.append(open_parts(model, source if not opened else opened[0].dataset.source, access))
    split, indices = _common(opened, split)
    notices = _notices(opened, loaded, called, indices, split)
    for line in notices:
        access.log(line)
    probabilities = [
        class_probabilities_of(model, each.packed, indices, batch_size=batch_size, track=access.track)
        for model, each in zip(loaded, opened, strict=True)
    ]
    labels = [map_labels(opened[0].dataset, model.class_names)[indices] for model in loaded]
    predicted = [each.argmax(axis=1) for each in probabilities]
    correct = np.stack([own == wanted for own, wanted in zip(predicted, labels, strict=True)])
    losses = [
        -np.log(np.maximum(each[np.arange(len(indices)), wanted], _TINY).astype(np.float64))
        for each, wanted in zip(probabilities, labels, strict=True)
    ]
    dataset = opened[0].dataset
    groups: list[tuple[GroupFigures, ...]] = [()] * len(loaded)
    if group_by is not None:
        group_names, numbers = group_numbers(image_groups(dataset, group_by, columns=access.columns))
        groups = [tuple(figures_by_group(row, group_names, numbers[indices])) for row in correct]
    compared = []
    for place, model in enumerate(loaded):
        share = fraction_of(int(correct[place].sum()), len(indices))
        compared.append(
            ComparedModel(
                called[place],
                model.network_name,
                share.value,
                share.interval,
                float(losses[place].mean()),
                groups[place],
            )
        )
    contradicted = _disagreements(correct, np.stack([each.max(axis=1) for each in probabilities]))
    disagreements = tuple(
        Disagreement(
            path=dataset.images.name(int(indices[row])),
            index=int(indices[row]),
            label=loaded[0].class_names[labels[0][row]],
            predictions=tuple(model.class_names[own[row]] for model, own in zip(loaded, predicted, strict=True)),
            probabilities=tuple(float(each[row].max()) for each in probabilities),
        )
        for row in contradicted
    )
    return Comparison(
        source=dataset.source,
        split=split,
        num_images=len(indices),
        models=tuple(compared),
        pairs=_pairs(correct, losses, seed),
        disagreements=disagreements,
        group_by=group_by,
        notices=tuple(notices),
        thumbnails=_thumbnails(opened[0].packed, disagreements[:num_thumbnails]),
    )


def _names(models: Sequence[Any], loaded: list[Model], names: Sequence[str] | None) -> list[str]:
    if names is not None and len(names) != len(models):
        raise InputError(f"expected a name for each of {len(models)} models but got {len(names)}")
    found = list(
        names
        or [
            model.network_name if isinstance(each, Model) else str(each)
            for each, model in zip(models, loaded, strict=True)
        ]
    )
    return [name if found.count(name) == 1 else f"{name} ({place + 1})" for place, name in enumerate(found)]


def _common(opened: list[Parts], split: str | None) -> tuple[str, np.ndarray]:
    """The part and the readable images that belong to it for every model. DataError where there are none."""
    if split is not None and split not in (*SPLITS, ALL):
        raise InputError(f"split must be one of {', '.join((*SPLITS, ALL))} but is {split!r}")
    for name in (split,) if split else ("test", "validation", ALL):
        indices = np.arange(len(opened[0].dataset))
        for each in opened:
            own = each.parts[name]
            if not len(own) and not each.is_own and not split:
                own = each.parts[
                    ALL
                ]  # a source without splits is used whole, but never what another model was trained on
            indices = np.intersect1d(indices, own)
            indices = indices[each.packed.usable[indices]]
        if len(indices):
            return name, indices
    raise DataError(
        f"{opened[0].dataset.source} has no images in its {split or 'test'} part that every model can be held to; "
        "name another --split"
    )


def _notices(opened: list[Parts], loaded: list[Model], called: list[str], indices: np.ndarray, split: str) -> list[str]:
    """Who was trained on some of these images, as far as can be told."""
    lines = []
    for each, name in zip(opened, called, strict=True):
        others = each.dataset.labels[indices] != opened[0].dataset.labels[indices]
        if others.any():
            lines.append(
                f"{called[0]} and {name} were trained on different labels of {int(others.sum()):,} of these images; "
                f"the figures are by those of {called[0]}"
            )
    for each, model, name in zip(opened, loaded, called, strict=True):
        own = own_data(model.provenance)
        if each.is_own and split in ("train", ALL):
            lines.append(f"the {split} part includes images that {name} was trained on: its figures flatter")
        elif own and not each.is_own:
            known = overlap(own.get("train_sketch"), each.hashes[indices])
            if known.num_found:
                lines.append(
                    f"{known.num_found:,} of {known.num_told:,} of these images are among those that {name} was "
                    "trained on: its figures flatter"
                )
    return lines


def _pairs(correct: np.ndarray, losses: list[np.ndarray], seed: int) -> tuple[Pair, ...]:
    """All pairs of up to four models, else each model with the most accurate one."""
    num_models, num_images = correct.shape
    best = int(correct.sum(axis=1).argmax())
    places = (
        list(itertools.combinations(range(num_models), 2))
        if num_models <= 4
        else [(place, best) for place in range(num_models) if place != best]
    )
    counts = [(int((correct[a] & ~correct[b]).sum()), int((correct[b] & ~correct[a]).sum())) for a, b in places]
    p_values = [mcnemar_p_value(*each) for each in counts]
    pairs = []
    for (a, b), (only_a, only_b), p_value, adjusted in zip(places, counts, p_values, holm(p_values), strict=True):
        difference, interval = accuracy_difference(only_a, only_b, num_images, seed=seed)
        loss_difference, loss_interval = mean_difference(losses[b] - losses[a], seed=seed)
        pairs.append(
            Pair(
                first=a,
                second=b,
                both_right=int((correct[a] & correct[b]).sum()),
                only_first=only_a,
                only_second=only_b,
                both_wrong=int((~correct[a] & ~correct[b]).sum()),
                difference=difference,
                interval=interval,
                p_value=p_value,
                adjusted_p_value=adjusted,
                loss_difference=loss_difference,
                loss_interval=loss_interval,
                images_needed=images_needed(only_a, only_b, num_images),
            )
        )
    return tuple(pairs)


def _disagreements(correct: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """Rows of images that some model names correctly and another does not, the most certain contradiction first."""
    rows = np.flatnonzero(correct.any(axis=0) & ~correct.all(axis=0))
    right = np.where(correct, confidences, 0).max(axis=0)[rows]
    wrong = np.where(~correct, confidences, 0).max(axis=0)[rows]
    order: np.ndarray = rows[np.argsort(-np.minimum(right, wrong), kind="stable")]
    return order


def _thumbnails(packed: PreparedImages, listed: Sequence[Disagreement]) -> tuple[np.ndarray, ...]:
    return tuple(thumbnail(packed, each.index) for each in listed)
