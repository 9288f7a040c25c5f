"""Measure a classifier on images that have labels."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.dataset import Dataset
from striate.data.packed import PreparedImages
from striate.data.parallel import prefetch
from striate.data.preprocessing import Preprocessing
from striate.data.sampling import read_batch
from striate.errors import DataError, InputError, NonFiniteLoss
from striate.networks.restore import evaluating
from striate.progress import Log, Track, log_nothing, track_silently
from striate.tasks.classification import metrics
from striate.tasks.classification.logits import class_logits, first_best, rank_of_labels
from striate.tasks.classification.metrics import Answers, CalibrationBin, ClassFigures, Fraction

MAX_WRITTEN_CLASSES = 100
"""Up to so many classes the confusion matrix is written out in full."""
MAX_CONFUSION_CLASSES = 1_000
"""Up to so many there is one: it grows with the square of the classes, 3 GB for 20,000."""
NUM_MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: `index` is the image's place in the data set, `label` and `predicted` are class names.

    `probability` is the predicted class's, `label_probability` the right one's; `loss` is in nats.
    """

    index: int
    label: str
    predicted: str
    probability: float
    label_probability: float
    loss: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of a classifier on some images. K classes; shares are fractions in [0, 1] with 95 % Wilson intervals.

    `top5` is None for five classes or fewer. `negative_log_likelihood` is the mean over images in nats. `confusion`
    (K, K) counts right classes by row and answers by column, None above 1,000 classes. `most_confused` are the commonest kinds of
    mistake: right class, answer, count. `mistakes` are the worst ones, by loss.
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

    @property
    def top1_accuracy(self) -> float:
        """The share of images answered rightly."""
        return self.top1.value

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


def evaluate(
    network: nn.Module,
    preprocessing: Preprocessing,
    packed: PreparedImages,
    indices: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    autocast_dtype: torch.dtype | None = None,
    track: Track = track_silently,
) -> Evaluation:
    """Figures of `network` on the images `indices` of `packed`, whose labels are `labels[indices]`.

    Labels are output indices of the network. Images that could not be read are left out: they are no mistake of the
    network's. The network must be on `device`; its mode and gradients come back as they were. Memory grows by some
    forty bytes an image. InputError where nothing is left to evaluate or a label is not one of the classes;
    NonFiniteLoss where the network answers NaN or infinity.
    """
    indices = np.asarray(indices, dtype=np.int64)
    indices = indices[packed.usable[indices]]
    if len(indices) == 0:
        raise InputError("there is no readable image to evaluate on; name another split or source")
    own_labels = labels[indices]
    if own_labels.min() < 0 or own_labels.max() >= len(class_names):
        raise InputError(
            f"labels must lie in [0, {len(class_names) - 1}] but run from {own_labels.min()} to {own_labels.max()}"
        )
    batches = plain_batches(packed, indices, preprocessing, batch_size, torch.device(device))
    num_batches = -(-len(indices) // batch_size)
    tracked = track(batches, "evaluating", num_batches)
    return figures_of(answer(network, tracked, own_labels, autocast_dtype=autocast_dtype), indices, class_names)


def plain_batches(
    packed: PreparedImages, indices: np.ndarray, preprocessing: Preprocessing, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    """These images, read ahead and prepared for the network, nothing changed at random: batches (n, C, H, W) on `device`."""
    starts = range(0, len(indices), batch_size)
    thunks = (
        partial(read_batch, packed, indices[start : start + batch_size], preprocessing.crop_size) for start in starts
    )
    readers = packed.num_readers
    with contextlib.closing(prefetch(thunks, depth=readers + 1, num_workers=readers)) as batches:
        for images in batches:
            yield preprocessing.normalize(images.to(device))


def answer(
    network: nn.Module,
    batches: Iterable[Tensor],
    labels: np.ndarray,
    *,
    autocast_dtype: torch.dtype | None = None,
    use_inference_mode: bool = True,
) -> Answers:
    """What the network answers, in evaluation mode, to batches of its input, whose labels (N,) follow one another.

    Tensors that are made in inference mode can never be trained on, so a network that keeps some does without.
    """
    answers, start = [], 0
    with evaluating(network), torch.inference_mode() if use_inference_mode else torch.no_grad():
        for images in batches:
            device, stop = images.device, start + len(images)
            with torch.autocast(device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None):
                logits = class_logits(network(images))
            answers.append(_answers_to(logits, torch.from_numpy(labels[start:stop]).to(device)))
            start = stop
    return _joined(answers)


def figures_of(answers: Answers, indices: np.ndarray, class_names: tuple[str, ...]) -> Evaluation:
    """Every figure from the answers to the images `indices` of a data set. NonFiniteLoss if one is not finite."""
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
    )


def map_labels(dataset: Dataset, class_names: tuple[str, ...], *, log: Log = log_nothing) -> np.ndarray:
    """The data set's labels (N,) int64 as output indices of a model with these class names, matched by name.

    Classes without images may be unknown to the model. Where a source names its classes only by number (an index
    column, folders called 0, 1, 2) and the model has no class that is called by a number, the numbers are output
    indices, and a line says so. DataError names the classes that do not fit.
    """
    index_of = {name: index for index, name in enumerate(class_names)}
    in_use = np.unique(dataset.labels).tolist()
    names = {label: dataset.class_names[label] for label in in_use}
    unknown = [name for name in names.values() if name not in index_of]
    if not unknown:
        outputs = {label: index_of[name] for label, name in names.items()}
    elif any(name.isdecimal() for name in class_names):  # numbers that are names: 3 never stands for "the fourth"
        raise DataError(_unknown_classes_line(dataset.source, unknown, class_names))
    elif dataset.has_index_labels:
        outputs = {label: label for label in in_use}
    elif all(name.isdecimal() for name in names.values()):
        outputs = {label: int(name) for label, name in names.items()}
    else:
        raise DataError(_unknown_classes_line(dataset.source, unknown, class_names))
    if unknown:
        if wrong := [output for output in outputs.values() if output >= len(class_names)]:
            raise DataError(
                f"{dataset.source} names its classes by numbers up to {max(wrong)} "
                f"but the model has the outputs 0 to {len(class_names) - 1}"
            )
        log(f"{dataset.source} names its classes by number, the model by name: the numbers are taken as its outputs")
    mapping = np.full(len(dataset.class_names), -1, dtype=np.int64)
    mapping[list(outputs)] = list(outputs.values())
    return mapping[dataset.labels]


def _answers_to(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """The fields of Answers for one batch, each (N,), on its device; a loss is NaN where any logit is not finite."""
    logits = logits.float()
    log_probabilities = logits.log_softmax(dim=1)  # (N, K)
    losses = -log_probabilities.gather(1, labels[:, None])[:, 0]
    losses = torch.where(logits.isfinite().all(dim=1), losses, torch.nan)
    confidences = log_probabilities.amax(dim=1).exp()
    return labels, first_best(logits), rank_of_labels(logits, labels), losses, confidences


def _joined(batches: list[tuple[Tensor, ...]]) -> Answers:
    columns = (torch.cat(parts).cpu().numpy() for parts in zip(*batches, strict=True))
    labels, predicted, ranks, losses, confidences = columns
    return Answers(labels, predicted, ranks, losses.astype(np.float64), confidences.astype(np.float64))


def _worst_mistakes(answers: Answers, indices: np.ndarray, class_names: tuple[str, ...]) -> Iterator[Mistake]:
    wrong = np.flatnonzero(answers.predicted != answers.labels)
    worst = wrong[np.argsort(-answers.losses[wrong], kind="stable")][:NUM_MISTAKES]
    for place in worst:
        yield Mistake(
            index=int(indices[place]),
            label=class_names[answers.labels[place]],
            predicted=class_names[answers.predicted[place]],
            probability=float(answers.confidences[place]),
            label_probability=float(np.exp(-answers.losses[place])),
            loss=float(answers.losses[place]),
        )


def _unknown_classes_line(source: str, unknown: list[str], class_names: tuple[str, ...]) -> str:
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    shown = ", ".join(repr(name) for name in unknown[:5]) + more
    near = {name: difflib.get_close_matches(name, class_names, n=1, cutoff=0.6) for name in unknown[:5]}
    hints = [f"{name!r} may be {matches[0]!r}" for name, matches in near.items() if matches]
    known = ", ".join(repr(name) for name in class_names[:5]) + (" ..." if len(class_names) > 5 else "")
    advice = "; ".join(hints) if hints else f"it knows {known}"
    return f"{source} has the classes {shown}, which the model does not know; {advice}; rename them in the source"
