"""Figures of classification and localisation: class, box, and both right, each with its interval. N images, K classes.

A box is right where its intersection over union with the true one is 0.5 or more, as in the ImageNet challenge
(arXiv:1409.0575, section 4.2).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from striate.errors import NonFiniteLoss
from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.intervals import Fraction, fraction_of, mean_of
from striate.tasks.localization.boxes import box_iou
from striate.tasks.localization.loss import IOU_THRESHOLD, LocalizationLoss, read_values

NUM_MISTAKES = 24


@dataclass(frozen=True)
class Located:
    """What is kept of each image, arrays (N,): classes, IoU, the predicted class's probability, the loss; and both
    boxes (N, 4) as fractions of what the network saw.
    """

    labels: np.ndarray
    predicted: np.ndarray
    ious: np.ndarray
    probabilities: np.ndarray
    losses: np.ndarray
    boxes: np.ndarray
    true_boxes: np.ndarray

    @property
    def are_right(self) -> np.ndarray:
        """(N,) bool: class and box both."""
        result: np.ndarray = (self.labels == self.predicted) & (self.ious >= IOU_THRESHOLD)
        return result


@dataclass(frozen=True)
class ClassLocalization:
    """How one class fared: of its `support` images, which fraction had the right class, and both right; the mean IoU of
    its boxes.
    """

    name: str
    support: int
    top1_accuracy: float | None
    mean_iou: float | None
    localization_accuracy: float | None


@dataclass(frozen=True)
class BoxMistake:
    """An image whose class or box is wrong. `index` is its place in the data set; boxes are fractions of what the
    network saw.
    """

    index: int
    label: str
    predicted: str
    probability: float
    iou: float
    box: tuple[float, ...]
    true_box: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class LocalizationEvaluation:
    """Figures on some images: fractions with 95 % intervals. `localization` is that of images whose class and box are
    both right, `box` of those whose box is; `mean_iou` is over all images, whatever the class. `mistakes` are the
    worst, those of a wrong class first.
    """

    class_names: tuple[str, ...]
    num_images: int
    localization: Fraction
    top1: Fraction
    box: Fraction
    mean_iou: Fraction
    loss: float
    per_class: tuple[ClassLocalization, ...]
    mistakes: tuple[BoxMistake, ...]

    @property
    def score(self) -> float:
        """The fraction of images whose class and box are both right."""
        return self.localization.value

    @property
    def score_interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return self.localization.interval

    @property
    def top1_accuracy(self) -> float:
        """The fraction of images whose class is right."""
        return self.top1.value

    def summary(self) -> dict[str, float]:
        """What is followed from epoch to epoch."""
        return {
            "localization_accuracy": self.localization.value,
            "accuracy": self.top1.value,
            "mean_iou": self.mean_iou.value,
        }

    def lines(self) -> list[tuple[str, str]]:
        """What a person reads first."""
        classes = [("class right", self.top1.words())] if len(self.class_names) > 1 else []
        return [
            ("class and box right", self.localization.words()),
            *classes,
            ("mean IoU", self.mean_iou.words()),
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values; a box is right at an IoU of at least "iou_threshold"."""
        return {
            "num_images": self.num_images,
            "localization_accuracy": self.localization.value,
            "localization_interval": list(self.localization.interval),
            "top1_accuracy": self.top1.value,
            "top1_interval": list(self.top1.interval),
            "box_accuracy": self.box.value,
            "box_interval": list(self.box.interval),
            "mean_iou": self.mean_iou.value,
            "mean_iou_interval": list(self.mean_iou.interval),
            "iou_threshold": IOU_THRESHOLD,
            "loss": self.loss,
            "class_names": list(self.class_names),
            "per_class": [asdict(each) for each in self.per_class],
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
        }


class LocalizationAccumulator:
    """Gathers a dozen numbers an image; they stay where the outputs are until the end."""

    def __init__(self, class_names: tuple[str, ...], kind: str, batches: Sequence[tuple[Tensor, ...]] = ()) -> None:
        self.class_names = class_names
        self.objective = LocalizationLoss(len(class_names), kind)
        self.batches = list(batches)

    def update(self, outputs: Any, targets: Any) -> None:
        """Outputs (n, K + 4) and the targets of their images."""
        given = (outputs.logits if isinstance(outputs, WithAuxiliary) else outputs).float()
        num_classes = len(self.class_names)
        losses = self.objective.each(given, targets)
        losses = torch.where(given.isfinite().all(dim=1), losses, torch.nan)
        values = read_values(given, num_classes)
        probabilities, predicted = values[:, :num_classes].max(dim=1)
        boxes = values[:, num_classes:]
        ious = box_iou(boxes, targets["full_boxes"])
        self.batches.append((targets["labels"], predicted, ious, probabilities, losses, boxes, targets["full_boxes"]))

    def located(self) -> Located:
        """What was gathered of every image."""
        columns = (torch.cat(parts).cpu().numpy() for parts in zip(*self.batches, strict=True))
        return Located(*(column.astype(np.float64) if column.dtype.kind == "f" else column for column in columns))

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields of Located."""
        return vars(self.located())

    def merged(self, others: Sequence[dict[str, np.ndarray]], order: np.ndarray) -> Self:
        """One with the images of all `others` in this order."""
        names = [field.name for field in fields(Located)]
        columns = (np.concatenate([each[name] for each in others])[order] for name in names)
        parts = tuple(torch.from_numpy(column) for column in columns)
        return type(self)(self.class_names, self.objective.kind, [parts])

    def result(self, indices: np.ndarray) -> LocalizationEvaluation:
        """The figures of the images gathered, which are `indices` (N,) of a data set. NonFiniteLoss where one is not
        finite.
        """
        return figures_of(self.located(), indices, self.class_names)


def figures_of(located: Located, indices: np.ndarray, class_names: tuple[str, ...]) -> LocalizationEvaluation:
    """Every figure of the images `indices` (N,) of a data set. NonFiniteLoss where an output was not finite."""
    if not np.isfinite(located.losses).all():
        first = int(indices[np.flatnonzero(~np.isfinite(located.losses))[0]])
        raise NonFiniteLoss(
            f"the network answers image {first} with NaN or infinity; "
            "its weights are damaged or 16-bit arithmetic overflows: try --precision 32-true"
        )
    num_images = len(located.labels)
    return LocalizationEvaluation(
        class_names=class_names,
        num_images=num_images,
        localization=fraction_of(int(located.are_right.sum()), num_images),
        top1=fraction_of(int((located.labels == located.predicted).sum()), num_images),
        box=fraction_of(int((located.ious >= IOU_THRESHOLD).sum()), num_images),
        mean_iou=mean_of(located.ious),
        loss=float(located.losses.mean()),
        per_class=tuple(_of_class(located, k, name) for k, name in enumerate(class_names)),
        mistakes=tuple(_worst(located, indices, class_names)),
    )


def _of_class(located: Located, k: int, name: str) -> ClassLocalization:
    own = located.labels == k
    if not own.any():
        return ClassLocalization(name, 0, None, None, None)
    return ClassLocalization(
        name,
        int(own.sum()),
        float((located.predicted[own] == k).mean()),
        float(located.ious[own].mean()),
        float(located.are_right[own].mean()),
    )


def _worst(located: Located, indices: np.ndarray, class_names: tuple[str, ...]) -> list[BoxMistake]:
    """Of a wrong class first, then by the least overlap."""
    wrong = np.flatnonzero(~located.are_right)
    is_right_class = located.labels[wrong] == located.predicted[wrong]
    order = wrong[np.lexsort((located.ious[wrong], is_right_class))][:NUM_MISTAKES]
    return [
        BoxMistake(
            index=int(indices[k]),
            label=class_names[located.labels[k]],
            predicted=class_names[located.predicted[k]],
            probability=float(located.probabilities[k]),
            iou=float(located.ious[k]),
            box=tuple(located.boxes[k].tolist()),
            true_box=tuple(located.true_boxes[k].tolist()),
        )
        for k in order
    ]
