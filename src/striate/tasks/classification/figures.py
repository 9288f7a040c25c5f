"""Figures of a classifier from what it predicts: accuracy with its interval, calibration, every class, the worst
mistakes.

N images, K classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from striate.errors import InputError, NonFiniteLoss
from striate.notebook import Shown
from striate.tasks.classification import metrics
from striate.tasks.classification.logits import class_logits, first_best, rank_of_labels
from striate.tasks.classification.metrics import Answers, CalibrationBin, ClassFigures
from striate.tasks.classification.probability_tally import ProbabilityTally
from striate.tasks.classification.selective import Selective, Threshold, selective, threshold_for
from striate.tasks.intervals import Fraction
from striate.units import percent, percent_range

MAX_WRITTEN_CLASSES = 100
"""Up to so many classes the confusion matrix is written out in full."""
MAX_CONFUSION_CLASSES = 1_000
"""Up to so many there is one: it grows with the square of the classes, 3 GB for 20,000."""
NUM_MISTAKES, NUM_EXAMPLES = 24, 8


@dataclass(frozen=True)
class Mistake:
    """An answer, mostly a wrong one: `index` is the image's place in the data set, `label` and `predicted` are class
    names.

    `probability` is the predicted class's, `label_probability` the right one's; `loss` is in nats.
    """

    index: int
    label: str
    predicted: str
    probability: float
    label_probability: float
    loss: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """Figures of a classifier on some images. K classes; shares are fractions in [0, 1] with 95 % Wilson intervals.

    `top5` is None for five classes or fewer. `negative_log_likelihood` is the mean over images in nats. `confusion`
    (K, K) counts right classes by row and answers by column, None above 1,000 classes. `most_confused` are the
    commonest kinds of mistake: right class, answer, count. `mistakes` are the worst ones, by loss; `examples` are the
    surest "correct" answers, one a class, and the "least_certain" ones.
    `adaptive_calibration_error` has bins of equally many images; `brier_score` (in [0, 2]) and
    `classwise_calibration_error` are of all K probabilities, None where only the largest were kept. `selective` says
    what answering only where it is certain would gain; `answers` are what the figures come from, image by image.
    """

    class_names: tuple[str, ...]
    num_images: int
    top1: Fraction
    top5: Fraction | None
    balanced_accuracy: float
    negative_log_likelihood: float
    calibration_error: float
    calibration: tuple[CalibrationBin, ...]
    per_class: tuple[ClassFigures, ...]
    confusion: np.ndarray | None
    most_confused: tuple[tuple[int, int, int], ...]
    mistakes: tuple[Mistake, ...]
    adaptive_calibration_error: float | None = None
    brier_score: float | None = None
    classwise_calibration_error: float | None = None
    selective: Selective | None = None
    answers: Answers | None = field(default=None, compare=False)
    examples: dict[str, tuple[Mistake, ...]] = field(default_factory=dict, compare=False)

    def threshold(self, allowed_error: float) -> Threshold:
        """The confidence above which errors stay so rare, on the images that were evaluated; see `threshold_for`.

        InputError unless 0 < allowed_error < 1, or where the answers to single images were not kept.
        """
        if self.answers is None:
            raise InputError("the answers to single images were not kept; evaluate the model again")
        return threshold_for(self.answers.confidences, self.answers.ranks == 0, allowed_error)

    def facts(self) -> tuple[str, tuple[tuple[str, object], ...]]:
        low, high = self.top1.interval
        return "striate evaluation", (
            ("accuracy", percent(self.top1_accuracy)),
            ("95 % interval", percent_range(low, high)),
            ("images", f"{self.num_images:,}"),
            ("classes", f"{len(self.class_names):,}"),
            ("calibration error", percent(self.calibration_error)),
        )

    @property
    def top1_accuracy(self) -> float:
        """The fraction of images whose class is predicted correctly."""
        return self.top1.value

    @property
    def score(self) -> float:
        """Top-1 accuracy."""
        return self.top1.value

    @property
    def score_interval(self) -> tuple[float, float]:
        """The 95 % interval of the score."""
        return self.top1.interval

    @property
    def loss(self) -> float:
        """The mean negative log-likelihood in nats."""
        return self.negative_log_likelihood

    def summary(self) -> dict[str, float]:
        """{"accuracy"}: what is followed from epoch to epoch."""
        return {"accuracy": self.top1.value}

    def lines(self) -> list[tuple[str, str]]:
        """What a person reads first."""
        return [("accuracy", self.top1.words())]

    def to_json(self) -> dict[str, Any]:
        """Plain values. The confusion matrix is written in full up to 100 classes; its commonest mistakes always."""
        names = self.class_names
        return {
            "num_images": self.num_images,
            "top1_accuracy": self.top1.value,
            "top1_interval": list(self.top1.interval),
            "top5_accuracy": self.top5.value if self.top5 else None,
            "top5_interval": list(self.top5.interval) if self.top5 else None,
            "balanced_accuracy": self.balanced_accuracy,
            "negative_log_likelihood": self.negative_log_likelihood,
            "calibration_error": self.calibration_error,
            "adaptive_calibration_error": self.adaptive_calibration_error,
            "classwise_calibration_error": self.classwise_calibration_error,
            "brier_score": self.brier_score,
            "selective": None if self.selective is None else self.selective.to_json(),
            "calibration": [asdict(each) for each in self.calibration],
            "class_names": list(names),
            "per_class": [asdict(figures) for figures in self.per_class],
            "confusion": None
            if self.confusion is None or len(names) > MAX_WRITTEN_CLASSES
            else self.confusion.tolist(),
            "most_confused": [
                {"label": names[label], "predicted": names[predicted], "count": count}
                for label, predicted, count in self.most_confused
            ],
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
        }


class ClassificationAccumulator:
    """Gathers five numbers an image, some forty bytes; they stay where the outputs are until the end."""

    def __init__(self, class_names: tuple[str, ...], batches: Sequence[tuple[Tensor, ...]] = ()) -> None:
        self.class_names = class_names
        self.batches = list(batches)
        self.tally = ProbabilityTally()

    def update(self, outputs: Any, targets: Any) -> None:
        """Logits (n, K), or what else a classifier gives, and labels (n,)."""
        logits = class_logits(outputs)
        labels = targets.to(logits.device)
        self.batches.append(answers_to(logits, labels))
        self.tally.update(logits, labels)

    def answers(self) -> Answers:
        """The five numbers of every image."""
        return joined(self.batches)

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields of Answers, (N,) each."""
        return vars(joined(self.batches))

    def merged(self, others: Sequence[dict[str, np.ndarray]], order: np.ndarray) -> Self:
        """One with the images of all `others` in this order."""
        names = [field.name for field in fields(Answers)]
        columns = (np.concatenate([each[name] for each in others])[order] for name in names)
        return type(self)(self.class_names, [tuple(torch.from_numpy(column) for column in columns)])

    def result(self, indices: np.ndarray) -> Evaluation:
        """The figures of the images gathered, which are `indices` (N,) of a data set."""
        return figures_of(joined(self.batches), indices, self.class_names, self.tally)


def figures_of(
    answers: Answers, indices: np.ndarray, class_names: tuple[str, ...], tally: ProbabilityTally | None = None
) -> Evaluation:
    """Every figure from the answers to the images `indices` of a data set; those of all probabilities from `tally`.

    NonFiniteLoss if one is not finite.
    """
    if not np.isfinite(answers.losses).all():
        first = int(indices[np.flatnonzero(~np.isfinite(answers.losses))[0]])
        raise NonFiniteLoss(
            f"the network answers image {first} with NaN or infinity; "
            "its weights are damaged or 16-bit arithmetic overflows: try --precision float32"
        )
    num_classes = len(class_names)
    per_class = metrics.class_figures(answers, class_names)
    bins = metrics.calibration_bins(answers)
    return Evaluation(
        class_names=class_names,
        num_images=len(answers),
        top1=metrics.topk_accuracy(answers, 1),
        top5=metrics.topk_accuracy(answers, 5) if num_classes > 5 else None,
        balanced_accuracy=metrics.balanced_accuracy(per_class),
        negative_log_likelihood=float(answers.losses.mean()),
        calibration_error=metrics.calibration_error(bins),
        calibration=tuple(bins),
        per_class=tuple(per_class),
        confusion=metrics.confusion_matrix(answers, num_classes) if num_classes <= MAX_CONFUSION_CLASSES else None,
        most_confused=tuple(metrics.most_confused(answers)),
        mistakes=tuple(_worst_mistakes(answers, indices, class_names)),
        examples=dict(_examples(answers, indices, class_names)),
        adaptive_calibration_error=metrics.adaptive_calibration_error(answers),
        brier_score=None if tally is None else tally.brier_score(),
        classwise_calibration_error=None if tally is None else tally.classwise_error(),
        selective=selective(answers.confidences, answers.ranks == 0),
        answers=answers,
    )


def answers_to(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """The fields of Answers for one batch, each (N,), on its device; a loss is NaN where any logit is not finite."""
    logits = logits.float()
    log_probabilities = logits.log_softmax(dim=1)  # (N, K)
    losses = -log_probabilities.gather(1, labels[:, None])[:, 0]
    losses = torch.where(logits.isfinite().all(dim=1), losses, torch.nan)
    confidences = log_probabilities.amax(dim=1).exp()
    return labels, first_best(logits), rank_of_labels(logits, labels), losses, confidences


def joined(batches: list[tuple[Tensor, ...]]) -> Answers:
    columns = (torch.cat(parts).cpu().numpy() for parts in zip(*batches, strict=True))
    labels, predicted, ranks, losses, confidences = columns
    return Answers(labels, predicted, ranks, losses.astype(np.float64), confidences.astype(np.float64))


def _worst_mistakes(answers: Answers, indices: np.ndarray, class_names: tuple[str, ...]) -> Iterator[Mistake]:
    wrong = np.flatnonzero(answers.predicted != answers.labels)
    worst = wrong[np.argsort(-answers.losses[wrong], kind="stable")][:NUM_MISTAKES]
    return _shown(answers, worst, indices, class_names)


def _examples(
    answers: Answers, indices: np.ndarray, class_names: tuple[str, ...]
) -> Iterator[tuple[str, tuple[Mistake, ...]]]:
    """ "correct": of each class the surest correct answer, the commonest classes first; "least_certain": right or
    wrong, the lowest confidence first.
    """
    order = np.argsort(-answers.confidences, kind="stable")
    right = order[answers.predicted[order] == answers.labels[order]]
    _, first = np.unique(answers.labels[right], return_index=True)
    counts = np.bincount(answers.labels)
    surest = sorted(right[first].tolist(), key=lambda place: (-counts[answers.labels[place]], answers.labels[place]))
    yield "correct", tuple(_shown(answers, surest[:NUM_EXAMPLES], indices, class_names))
    unsure = np.argsort(answers.confidences, kind="stable")[:NUM_EXAMPLES]
    yield "least_certain", tuple(_shown(answers, unsure, indices, class_names))


def _shown(
    answers: Answers, places: Iterable[int], indices: np.ndarray, class_names: tuple[str, ...]
) -> Iterator[Mistake]:
    for place in places:
        yield Mistake(
            index=int(indices[place]),
            label=class_names[answers.labels[place]],
            predicted=class_names[answers.predicted[place]],
            probability=float(answers.confidences[place]),
            label_probability=float(np.exp(-answers.losses[place])),
            loss=float(answers.losses[place]),
        )
