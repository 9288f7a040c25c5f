"""Figures of segmentation: IoU of each class and their mean, pixel accuracy, boundary F, each over all images, with
intervals.

N images, K classes. IoU is that of Pascal VOC: all pixels of all images together. A class that neither masks nor
predictions have counts for nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from striate.errors import DataError, NonFiniteLoss
from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.intervals import Fraction
from striate.tasks.segmentation.boundary import boundary_scores
from striate.tasks.segmentation.loss import SegmentationLoss, overlap_counts
from striate.units import percent

NUM_MISTAKES = 24
NUM_RESAMPLES = 1000
KEPT_PX = 256
"""Longest side at which the masks of the worst images are kept for pictures."""


@dataclass(frozen=True)
class Counts:
    """What is kept of each image: pixels of each class that are right, predicted and true, (N, K) int64; the loss and
    how many pixels it is of, (N,); boundary F of each class, (N, K), NaN where there is none.
    """

    hits: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    losses: np.ndarray
    boundary: np.ndarray


@dataclass(frozen=True)
class ClassSegmentation:
    """How one class fared. `support`: images that have it; `iou`, `recall`, `precision` over all pixels; `boundary_f`
    the mean over its images; `pixel_fraction` how much of all pixels it is. None where there is nothing to measure.
    """

    name: str
    support: int
    iou: float | None
    recall: float | None
    precision: float | None
    boundary_f: float | None
    pixel_fraction: float


@dataclass(frozen=True, eq=False)
class MaskMistake:
    """An image whose mask is among the worst by its own mean IoU; `predicted` and `true` are its masks, made
    smaller.
    """

    index: int
    mean_iou: float
    worst_class: str
    predicted: np.ndarray = field(repr=False)
    true: np.ndarray = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the masks."""
        return {"index": self.index, "mean_iou": self.mean_iou, "worst_class": self.worst_class}


@dataclass(frozen=True)
class SegmentationEvaluation:
    """Figures on some images, as fractions, with 95 % bootstrap intervals over images. `resolution` is the (height,
    width) at which masks were compared.
    """

    class_names: tuple[str, ...]
    num_images: int
    mean_iou: Fraction
    pixels: Fraction
    mean_class_accuracy: float
    boundary_f: float | None
    loss: float
    resolution: tuple[int, int]
    per_class: tuple[ClassSegmentation, ...]
    mistakes: tuple[MaskMistake, ...]

    @property
    def score(self) -> float:
        """The mean IoU."""
        return self.mean_iou.value

    @property
    def score_interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return self.mean_iou.interval

    def summary(self) -> dict[str, float]:
        """What is followed from epoch to epoch."""
        return {"mean_iou": self.mean_iou.value, "pixel_accuracy": self.pixels.value}

    def lines(self) -> list[tuple[str, str]]:
        """What a person reads first."""
        boundary = [] if self.boundary_f is None else [("boundary F", percent(self.boundary_f))]
        return [("mean IoU", self.mean_iou.words()), ("pixels right", self.pixels.words()), *boundary]

    def to_json(self) -> dict[str, Any]:
        """Plain values; intervals are of the bootstrap over images."""
        return {
            "num_images": self.num_images,
            "mean_iou": self.mean_iou.value,
            "mean_iou_interval": list(self.mean_iou.interval),
            "pixel_accuracy": self.pixels.value,
            "pixel_accuracy_interval": list(self.pixels.interval),
            "mean_class_accuracy": self.mean_class_accuracy,
            "boundary_f": self.boundary_f,
            "loss": self.loss,
            "resolution": list(self.resolution),
            "class_names": list(self.class_names),
            "per_class": [asdict(each) for each in self.per_class],
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
        }


class SegmentationAccumulator:
    """Gathers counts of each image; with `is_final` boundary F and the worst masks too, which take longer."""

    def __init__(
        self,
        class_names: tuple[str, ...],
        *,
        is_final: bool = False,
        resolution: tuple[int, int] = (0, 0),
        parts: Sequence[Counts] = (),
    ) -> None:
        self.class_names = class_names
        self.is_final = is_final
        self.resolution = resolution
        self.parts = list(parts)
        self.num_seen = 0
        self.worst: list[tuple[float, int, np.ndarray, np.ndarray]] = []

    def update(self, outputs: Any, targets: Any) -> None:
        """Logits (n, K, h, w) and targets (n, h, w) uint8."""
        given: Tensor = (outputs.logits if isinstance(outputs, WithAuxiliary) else outputs).float()
        num_classes = len(self.class_names)
        self.resolution = (int(targets.shape[1]), int(targets.shape[2]))
        predicted = given.argmax(dim=1).to(torch.uint8)
        counts = [each.cpu().numpy() for each in overlap_counts(predicted, targets, num_classes)]
        objective = SegmentationLoss(num_classes)
        losses = [objective(logits[None], target[None]) for logits, target in zip(given, targets, strict=True)]
        boundary = np.full(counts[0].shape, np.nan)
        if self.is_final:
            for place, (mask, truth) in enumerate(zip(predicted.cpu().numpy(), targets.cpu().numpy(), strict=True)):
                boundary[place] = boundary_scores(mask, truth, num_classes)
                if counts[2][place].any():  # of an image without a pixel that counts nothing can be wrong
                    self._keep(float(_mean_iou(*(each[place] for each in counts))), mask, truth)
                self.num_seen += 1
        hits, given_counts, true = counts
        of_loss = torch.stack(losses).cpu().numpy().astype(np.float64)
        self.parts.append(Counts(hits, given_counts, true, of_loss, boundary))

    def _keep(self, score: float, predicted: np.ndarray, true: np.ndarray) -> None:
        """Remember the masks where the image is among the worst so far."""
        step = -(-max(true.shape) // KEPT_PX)
        self.worst.append((score, self.num_seen, predicted[::step, ::step].copy(), true[::step, ::step].copy()))
        self.worst.sort(key=lambda each: each[:2])
        del self.worst[NUM_MISTAKES:]

    def counts(self) -> Counts:
        """What was gathered of every image."""
        names = Counts.__dataclass_fields__
        return Counts(*(np.concatenate([getattr(part, name) for part in self.parts]) for name in names))

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields of Counts, and the resolution."""
        return {**vars(self.counts()), "resolution": np.array(self.resolution, np.int64)}

    def merged(self, others: Sequence[dict[str, np.ndarray]], order: np.ndarray) -> Self:
        """One with the images of all `others` in this order; the masks of the worst are not passed on."""
        columns = (np.concatenate([each[name] for each in others])[order] for name in Counts.__dataclass_fields__)
        height, width = others[0]["resolution"].tolist()
        return type(self)(self.class_names, resolution=(height, width), parts=[Counts(*columns)])

    def result(self, indices: np.ndarray) -> SegmentationEvaluation:
        """The figures of the images gathered, which are `indices` (N,) of a data set. NonFiniteLoss where one is not
        finite.
        """
        counts = self.counts()
        mistakes = [
            MaskMistake(int(indices[place]), score, self._worst_class(counts, place), predicted, true)
            for score, place, predicted, true in self.worst
            if score < 1
        ]
        return figures_of(counts, indices, self.class_names, self.resolution, mistakes)

    def _worst_class(self, counts: Counts, place: int) -> str:
        unions = counts.predicted[place] + counts.true[place] - counts.hits[place]
        ious = np.where(counts.true[place] > 0, counts.hits[place] / np.maximum(1, unions), np.inf)
        return self.class_names[int(ious.argmin())]


def figures_of(
    counts: Counts,
    indices: np.ndarray,
    class_names: tuple[str, ...],
    resolution: tuple[int, int],
    mistakes: Sequence[MaskMistake] = (),
) -> SegmentationEvaluation:
    """Every figure of the images `indices` (N,) of a data set. NonFiniteLoss where an output was not finite, DataError
    where no pixel counts.
    """
    if not np.isfinite(counts.losses).all():
        first = int(indices[np.flatnonzero(~np.isfinite(counts.losses))[0]])
        raise NonFiniteLoss(
            f"the network answers image {first} with NaN or infinity; "
            "its weights are damaged or 16-bit arithmetic overflows: try --precision float32"
        )
    hits, predicted, true = (each.sum(axis=0) for each in (counts.hits, counts.predicted, counts.true))
    if not true.any():
        raise DataError(
            f"no pixel of the masks of these {len(counts.hits)} images has a class that counts, so nothing can be "
            "measured; see striate data for the values they hold, and list these in classes.csv: index,name"
        )
    pixels_of_image = counts.true.sum(axis=1)
    num_pixels = max(1, int(pixels_of_image.sum()))
    low, high = _bootstrap(counts)
    has_boundary = np.isfinite(counts.boundary)
    of_image = [
        float(row[known].mean()) for row, known in zip(counts.boundary, has_boundary, strict=True) if known.any()
    ]
    return SegmentationEvaluation(
        class_names=class_names,
        num_images=len(counts.hits),
        mean_iou=Fraction(float(_mean_iou(hits, predicted, true)), (float(low[0]), float(high[0]))),
        pixels=Fraction(float(hits.sum() / num_pixels), (float(low[1]), float(high[1]))),
        mean_class_accuracy=float((hits[true > 0] / true[true > 0]).mean()) if (true > 0).any() else 0.0,
        boundary_f=float(np.mean(of_image)) if of_image else None,
        loss=float((counts.losses * pixels_of_image).sum() / num_pixels),
        resolution=resolution,
        per_class=tuple(_of_class(counts, k, name, num_pixels) for k, name in enumerate(class_names)),
        mistakes=tuple(mistakes),
    )


def _mean_iou(hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The mean over the classes that are there, of counts (..., K): (...)."""
    unions = predicted + true - hits
    present = unions > 0
    ious = np.where(present, hits / np.maximum(1, unions), 0.0)
    result: np.ndarray = ious.sum(axis=-1) / np.maximum(1, present.sum(axis=-1))
    return result


def _bootstrap(counts: Counts) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5 and 97.5 % quantiles of (mean IoU, pixel accuracy) over images drawn anew, always by the same numbers
    (Efron 1979).

    Of a single image nothing is known: [0, 1].
    """
    num_images = len(counts.hits)
    if num_images < 2:
        return np.zeros(2), np.ones(2)
    drawn = np.random.default_rng(0).multinomial(num_images, np.full(num_images, 1 / num_images), NUM_RESAMPLES)
    hits, predicted, true = (drawn @ each for each in (counts.hits, counts.predicted, counts.true))  # (B, K)
    figures = np.stack([_mean_iou(hits, predicted, true), hits.sum(axis=1) / np.maximum(1, true.sum(axis=1))], axis=1)
    low, high = np.quantile(figures, [0.025, 0.975], axis=0)
    return low, high


def _of_class(counts: Counts, k: int, name: str, num_pixels: int) -> ClassSegmentation:
    hits, predicted, true = (int(each[:, k].sum()) for each in (counts.hits, counts.predicted, counts.true))
    boundary = counts.boundary[:, k][np.isfinite(counts.boundary[:, k])]
    union = predicted + true - hits
    return ClassSegmentation(
        name=name,
        support=int((counts.true[:, k] > 0).sum()),
        iou=hits / union if union else None,
        recall=hits / true if true else None,
        precision=hits / predicted if predicted else None,
        boundary_f=float(boundary.mean()) if len(boundary) else None,
        pixel_fraction=true / num_pixels,
    )
