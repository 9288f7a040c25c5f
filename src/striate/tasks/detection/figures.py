"""Figures of detection: COCO's average precision with its interval, VOC's, each class's, and mistakes by kind. N
images, K classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from striate.errors import NonFiniteLoss
from striate.networks.detectors.boxes import of_image
from striate.tasks.detection.average_precision import (
    AveragePrecision,
    Truths,
    average_precision,
    resampled,
    voc_average_precision,
)
from striate.tasks.detection.decode import detections
from striate.tasks.detection.loss import DetectionLoss
from striate.tasks.detection.mistakes import ImageMistakes, sort_mistakes
from striate.tasks.detection.values import HARD, Found, read_values
from striate.tasks.intervals import Fraction
from striate.units import percent

NUM_MISTAKES = 24
SHOWN_SCORE = 0.3
"""Detections of at least this score are drawn, listed, and sorted by kinds of mistakes."""
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class DetectedImage:
    """An image with mistakes: how many of each kind, and boxes as fractions of what the network saw, with their classes
    and scores.
    """

    index: int
    kinds: dict[str, int]
    found: tuple[dict[str, Any], ...]
    objects: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class DetectionEvaluation:
    """Figures on images with these truths and detections; AP and AP50 have 95 % intervals, of images drawn again
    (bootstrap).
    """

    class_names: tuple[str, ...]
    truths: tuple[Truths, ...]
    found: tuple[Found, ...]
    indices: np.ndarray
    loss: float

    @property
    def num_images(self) -> int:
        """N."""
        return len(self.truths)

    @cached_property
    def precision(self) -> AveragePrecision:
        """COCO's figures."""
        return average_precision(list(self.truths), list(self.found), len(self.class_names))

    @cached_property
    def voc(self) -> tuple[float | None, float | None]:
        """VOC's, of 2007 and of 2010 and later."""
        return voc_average_precision(list(self.truths), list(self.found), len(self.class_names))

    @cached_property
    def intervals(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Of AP and of AP50; of a single image nothing is known."""
        if self.num_images < 2:
            return (0.0, 1.0), (0.0, 1.0)
        aps, ap50s = resampled(list(self.truths), list(self.found), len(self.class_names))
        low, high = np.percentile(aps, _PERCENTILES).tolist()
        low50, high50 = np.percentile(ap50s, _PERCENTILES).tolist()
        return (low, high), (low50, high50)

    @property
    def score(self) -> float:
        """AP; 0 where there is no object to be found."""
        return self.precision.ap or 0.0

    @property
    def score_interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return self.intervals[0]

    @cached_property
    def sorted_mistakes(self) -> tuple[ImageMistakes, ...]:
        """Of each image, detections of SHOWN_SCORE and more."""
        pairs = zip(self.truths, self.found, strict=True)
        return tuple(sort_mistakes(truths, found.above(SHOWN_SCORE)) for truths, found in pairs)

    @cached_property
    def mistakes(self) -> Sequence[DetectedImage]:
        """The images with most mistakes for their number of objects."""
        parts = np.array(
            [each.total / (each.total + each.num_right) if each.total else 0 for each in self.sorted_mistakes]
        )
        totals = np.array([each.total for each in self.sorted_mistakes])
        order = np.lexsort((-totals, -parts))[:NUM_MISTAKES]
        return tuple(self._mistake(int(place)) for place in order if totals[place])

    def _mistake(self, place: int) -> DetectedImage:
        found, truths = self.found[place].above(SHOWN_SCORE), self.truths[place]
        real = ~truths.are_ignored & (truths.labels >= 0)
        return DetectedImage(
            int(self.indices[place]),
            {kind: count for kind, count in self.sorted_mistakes[place].counts.items() if count},
            tuple(
                {"class": self.class_names[label], "score": float(score), "box": box.tolist()}
                for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
            ),
            tuple(
                {"class": self.class_names[label], "box": box.tolist()}
                for box, label in zip(truths.boxes[real], truths.labels[real], strict=True)
            ),
        )

    def summary(self) -> dict[str, float]:
        """What is followed from epoch to epoch."""
        own = self.precision
        return {"ap": own.ap or 0.0, "ap50": own.ap50 or 0.0, "ap75": own.ap75 or 0.0}

    def lines(self) -> list[tuple[str, str]]:
        """What a person reads first."""
        own, (whole, half) = self.precision, self.intervals
        counts = self.counts_by_kind()
        kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "none"
        return [
            ("AP (IoU .50 to .95)", "– (no object to find)" if own.ap is None else Fraction(own.ap, whole).words()),
            ("AP50", "–" if own.ap50 is None else Fraction(own.ap50, half).words()),
            ("AP75", percent(own.ap75)),
            (f"mistakes, scores from {SHOWN_SCORE:g}", kinds),
        ]

    def counts_by_kind(self) -> dict[str, int]:
        """All mistakes of detections of SHOWN_SCORE and more, by kind."""
        total: Counter[str] = Counter()
        for each in self.sorted_mistakes:
            total.update(each.counts)
        return dict(total)

    def to_json(self) -> dict[str, Any]:
        """Plain values; null where there is no object to measure by."""
        own = self.precision
        return {
            "num_images": self.num_images,
            "num_objects": sum(each.num_objects for each in self.sorted_mistakes),
            "ap": own.ap,
            "ap_interval": list(self.intervals[0]),
            "ap50": own.ap50,
            "ap50_interval": list(self.intervals[1]),
            "ap75": own.ap75,
            "ap_small": own.small,
            "ap_medium": own.medium,
            "ap_large": own.large,
            "voc2007_ap": self.voc[0],
            "voc2010_ap": self.voc[1],
            "loss": self.loss,
            "class_names": list(self.class_names),
            "per_class": [
                {"name": name, "support": self._support(k), "ap": own.per_class[k][0], "ap50": own.per_class[k][1]}
                for k, name in enumerate(self.class_names)
            ],
            "shown_score": SHOWN_SCORE,
            "num_right": sum(each.num_right for each in self.sorted_mistakes),
            "mistakes_by_kind": self.counts_by_kind(),
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
        }

    def _support(self, label: int) -> int:
        return sum(int(((each.labels == label) & ~each.are_ignored).sum()) for each in self.truths)


class DetectionAccumulator:
    """Gathers the detections and the objects of every image; outputs themselves are not kept."""

    def __init__(
        self, class_names: tuple[str, ...], columns: dict[str, list[np.ndarray]] | None = None, *, nms: str = HARD
    ) -> None:
        self.class_names, self.nms = class_names, nms
        self.columns = columns or {name: [] for name in ("values", "losses", "sizes", "counts", "objects")}

    def update(self, outputs: Any, targets: Any) -> None:
        """Outputs of n images and their targets."""
        values = detections(outputs, nms=self.nms)
        losses = [_loss_and_weight(outputs, targets, image) for image in range(len(values))]
        is_real = targets["labels"] >= -1
        parts = (targets["boxes"], targets["labels"][..., None].float(), targets["are_ignored"][..., None].float())
        rows = torch.cat([part.float() for part in parts], dim=2)[is_real]
        for name, tensor in (
            ("values", values),
            ("losses", torch.stack(losses)),
            ("sizes", targets["sizes"]),
            ("counts", is_real.sum(dim=1)),
            ("objects", rows),
        ):
            self.columns[name].append(tensor.cpu().numpy())

    def arrays(self) -> dict[str, np.ndarray]:
        """Values (N, D * 6), losses and weights (N, 2), sizes (N, 2), counts (N,), and the objects of all images (T,
        6).
        """
        return {name: np.concatenate(parts) for name, parts in self.columns.items()}

    def merged(self, others: Sequence[dict[str, np.ndarray]], order: np.ndarray) -> Self:
        """One with the images of all `others` in this order."""
        joined = {name: np.concatenate([each[name] for each in others]) for name in self.columns}
        objects = np.split(joined["objects"], np.cumsum(joined["counts"])[:-1])
        columns = {name: [values[order]] for name, values in joined.items() if name != "objects"}
        columns["objects"] = [np.concatenate([objects[image] for image in order])]
        return type(self)(self.class_names, columns, nms=self.nms)

    def result(self, indices: np.ndarray) -> DetectionEvaluation:
        """The figures of the images gathered, which are `indices` (N,) of a data set. NonFiniteLoss where an output is
        not finite.
        """
        arrays = self.arrays()
        is_sound = np.isfinite(arrays["losses"]).all(axis=1) & np.isfinite(arrays["values"]).all(axis=1)
        if not is_sound.all():
            raise NonFiniteLoss(
                f"the network answers image {int(indices[np.flatnonzero(~is_sound)[0]])} with NaN or infinity; "
                "its weights are damaged or 16-bit arithmetic overflows: try --precision 32-true"
            )
        objects = np.split(arrays["objects"].astype(np.float64), np.cumsum(arrays["counts"])[:-1])
        truths = tuple(
            Truths((int(height), int(width)), rows[:, :4], rows[:, 4].astype(np.int64), rows[:, 5] > 0.5)
            for (height, width), rows in zip(arrays["sizes"].tolist(), objects, strict=True)
        )
        losses = arrays["losses"].astype(np.float64).sum(axis=0)
        found = tuple(read_values(arrays["values"], len(self.class_names)))
        return DetectionEvaluation(self.class_names, truths, found, np.asarray(indices), float(losses[0] / losses[1]))


def _loss_and_weight(outputs: Any, targets: Any, image: int) -> Tensor:
    """The summed loss of one image, and what it is divided by: (2,)."""
    only = of_image(outputs, image)
    own = {name: tensor[image : image + 1] for name, tensor in targets.items()}
    objective = DetectionLoss()
    weight = objective.weight(own)
    return torch.stack([objective(only, own) * weight, weight.to(torch.float32)])
