# ruff: noqa: ARG002 - what a task does without, another needs
"""What any room may ask of a task, and all that it may know of one: targets, loss, figures, answers, pictures, export.

A task is one folder with one such face. Training, evaluation, prediction, export and reports call it and never ask
which it is. Nothing here imports torch, so that an exported copy answers without it. N images, n of a batch, D values
an image.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeAlias, Union

import numpy as np

from striate.errors import InputError

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor, nn

    from striate.data.dataset import Dataset
    from striate.data.geometry import Geometry
    from striate.data.preprocessing import Preprocessing
    from striate.progress import Log

Targets: TypeAlias = Union["Tensor", dict[str, "Tensor"]]
"""What a batch should come to: one tensor, or several by name, whose first extent is the images."""
Outputs: TypeAlias = Any
"""What a network gives for a batch, whatever that is."""


class Annotations(Protocol):
    """What a source says of its N images. `labels` (N,) int64 sort them for splits and balanced sampling."""

    @property
    def labels(self) -> np.ndarray: ...

    def targets(self, indices: np.ndarray, geometry: "Geometry") -> Targets:
        """The targets of these images (n,), on the CPU, in the place to which `geometry` has moved their pixels."""
        ...

    def digest_parts(self) -> list[bytes]:
        """What beside the labels decides the targets, for the digest of a run."""
        ...


class Objective(Protocol):
    """What training lowers: a mean over a batch, and the weight it was divided by, so that parts of a batch add up."""

    def __call__(self, outputs: Outputs, targets: Targets) -> "Tensor":
        """The mean loss by weight, a scalar."""
        ...

    def weight(self, targets: Targets) -> "Tensor | float":
        """What the mean was divided by."""
        ...

    def score_sum(self, outputs: Outputs, targets: Targets) -> "Tensor":
        """The task's score, summed over the images: a scalar between 0 and n."""
        ...


class Figures(Protocol):
    """How a network did on some images. `score` lies in [0, 1], higher is better, with its 95 % interval; `loss` is a
    mean.
    """

    @property
    def num_images(self) -> int: ...
    @property
    def score(self) -> float: ...
    @property
    def score_interval(self) -> tuple[float, float]: ...
    @property
    def loss(self) -> float: ...
    @property
    def mistakes(self) -> Sequence["Mistake"]: ...

    def summary(self) -> dict[str, float]:
        """The few figures that are followed from epoch to epoch, by name, the score first."""
        ...

    def lines(self) -> list[tuple[str, str]]:
        """(name, figure in words) of the few that a person reads first, the score first."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain values, `num_images` and "mistakes" among them."""
        ...


class Mistake(Protocol):
    """An image that a network got wrong; `index` is its place in the data set."""

    @property
    def index(self) -> int: ...

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        ...


class Accumulator(Protocol):
    """Gathers what figures are made of, batch by batch, in as many processes as there are."""

    def update(self, outputs: Outputs, targets: Targets) -> None:
        """Take in what the network gave for a batch, in the order of the images."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What was gathered, as plain arrays that another process can read."""
        ...

    def merged(self, others: Sequence[dict[str, np.ndarray]], order: np.ndarray) -> Self:
        """One that has gathered what `others` have, one after the other; image i of the result is image order[i] of
        theirs.
        """
        ...

    def result(self, indices: np.ndarray) -> Figures:
        """The figures; `indices` (N,) are the images' places in the data set. NonFiniteLoss where an output was not
        finite.
        """
        ...


class Answer(Protocol):
    """What a model says of one image, in the image's own coordinates. `path` is its file."""

    @property
    def path(self) -> str: ...

    def to_json(self) -> dict[str, Any]:
        """Plain values, "path" first."""
        ...


@dataclass(frozen=True)
class Task(ABC):
    """A task for given classes. Raises InputError where names or settings are none."""

    class_names: tuple[str, ...]

    name: ClassVar[str]
    """In files, on the command line."""
    score_name: ClassVar[str]
    """The score as files name it: "accuracy"."""
    score_label: ClassVar[str]
    """The score as a person reads it."""
    score_figure: ClassVar[str | None] = None
    """The score in an evaluation's plain values, where that is not `score_name`."""
    losses: ClassVar[tuple[str, ...]]
    """The losses to choose from, the usual one first."""
    least_classes: ClassVar[int] = 2
    """So many classes must have images."""
    moves_targets: ClassVar[bool] = True
    """Whether targets depend on how the image was moved, so that features of one view fit no other's."""
    smooths_labels: ClassVar[bool] = True
    """Whether its losses have label smoothing."""
    can_mix: ClassVar[bool] = False
    """Whether images may be mixed with others, targets with them."""
    has_probabilities: ClassVar[bool] = False
    """Whether the outputs are logits of classes and nothing else: what calibration and averaged views need."""
    sees_whole_image: ClassVar[bool] = False
    """Whether images are stretched so that all of each is seen, as where things lie must be."""
    labels_pixels: ClassVar[bool] = False
    """Whether every pixel has a target: networks then give maps, images keep their aspect, and figures are made of
    whole ones.
    """
    picture_px: ClassVar[int] = 192
    """Longest side of the pictures of mistakes."""
    most_at_once: ClassVar[int] = 256
    """At most so many images are computed at once where nothing is trained."""
    network_kind: ClassVar[str] = "classifier"
    """What its networks are: the `kind` of their entries."""
    usual_part: ClassVar[str] = ""
    """What is put on a classifier's features where no other network is named: the PART of PART:BASE
    (networks/composite.py).
    """
    usual_network: ClassVar[str | None] = None
    """The network to train from scratch where none is named, where that is not a classifier's or built on one."""
    usual_image_size: ClassVar[int | None] = None
    """Side of the square that the network sees, where that is not left to the network."""
    written_as: ClassVar[tuple[str, ...]] = ("csv", "sort_into", "uncertain")
    """What answers can be made into beside a table on the screen, as `striate predict` names its options."""
    written_instead: ClassVar[str] = ""
    """What to ask for instead of anything else."""
    support_of: ClassVar[str] = "images"
    """What the `support` of a class counts."""
    train_score_name: ClassVar[str | None] = None
    """What `Objective.score_sum` measures, where that is not the score."""

    @property
    def overfit_loss(self) -> float | None:
        """A loss this small on a handful of images says that the network has fitted them; None where the loss cannot
        say it.
        """
        return 0.1

    @property
    def num_guesses(self) -> int | None:
        """Among how many equally likely answers guessing chooses, so that its loss is their logarithm; None where it is
        not so.
        """
        return None

    @classmethod
    @abstractmethod
    def problem_with(cls, dataset: "Dataset") -> str | None:
        """Why a source cannot serve for this task, to follow its name; None where it can."""

    def usable(self, dataset: "Dataset") -> np.ndarray:
        """(N,) bool: the images whose annotations serve."""
        return np.ones(len(dataset), bool)

    def for_splits(self, dataset: "Dataset") -> "Dataset":
        """The source with the labels by which images are drawn into splits."""
        return dataset

    def with_nms(self, nms: str) -> "Task":
        """The same task with another suppression of overlapping boxes, "hard" or "soft". InputError where it finds no
        boxes that overlap.
        """
        raise InputError(f"--nms is for models that find objects, and this one is for {self.name}; leave it out")

    def with_loss(self, loss: str | None) -> "Task":
        """The task by the loss of this name, the usual one for None. InputError for a loss of another task."""
        self.check_loss(loss)
        return self

    @classmethod
    def class_names_of(cls, dataset: "Dataset") -> tuple[str, ...]:
        """The classes of a source."""
        return dataset.class_names

    def network_name(self, name: str) -> str:
        """The network of this task that a name stands for: itself, or `usual_part` on a classifier of that name.

        InputError where it is a network for another task.
        """
        from striate.networks.catalogue import entry_for
        from striate.networks.composite import PARTS
        from striate.networks.segmenters.catalogue import SEGMENTERS

        if name in PARTS and name not in SEGMENTERS:
            raise InputError(
                f"{name} is built on the features of a network of the catalogue; name it too, as {name}:resnet18"
            )
        kind = entry_for(name).kind
        if kind == self.network_kind:
            return name
        if kind == "classifier" and self.usual_part:
            return f"{self.usual_part}:{name}"
        wanted = f"such as {self.usual_part}:resnet18" if self.usual_part else "a classifier"
        raise InputError(f"{name} is a {kind}, which {self.name} has no use for; name {wanted}")

    def image_counts(self, annotations: Annotations, indices: np.ndarray) -> dict[str, int]:
        """How many of these images have each class, by name."""
        counts = np.bincount(annotations.labels[indices], minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))

    @abstractmethod
    def num_outputs(self, output: str) -> int:
        """How many outputs the network needs; `output` is "softmax" or "sigmoid". InputError where that does not
        fit.
        """

    def settings(self) -> dict[str, Any]:
        """What the model file stores beside name and classes: plain values that `with_settings` takes back."""
        return {}

    def initialize_head(self, head: "nn.Module") -> None:  # noqa: B027 - most tasks know no better start
        """Change the fresh weights of a network's last layer, in place, where the task knows a better start."""

    @abstractmethod
    def annotations(
        self,
        dataset: "Dataset",
        *,
        log: "Log",
        labels: np.ndarray | None = None,
        preprocessing: "Preprocessing | None" = None,
    ) -> Annotations:
        """What the source says of its images; `labels` (N,) are its classes as this task's, where they have other
        numbers.

        `preprocessing` is that of the packed images, which annotations of pixels are packed by.
        """

    @classmethod
    def score_in(cls, values: dict[str, Any]) -> tuple[float | None, tuple[float, float] | None]:
        """The score and its 95 % interval in an evaluation's plain values, as fractions; None where it has none.
        KeyError, TypeError or ValueError for something else.
        """
        name = cls.score_figure or cls.score_name
        score, interval = values[name], values[f"{name.removesuffix('_accuracy')}_interval"]
        bounds = None if interval is None else (float(interval[0]), float(interval[1]))
        return None if score is None else float(score), bounds

    @abstractmethod
    def objective(
        self,
        annotations: Annotations,
        train: np.ndarray,
        *,
        loss: str | None,
        label_smoothing: float,
        use_class_weights: bool,
        device: "torch.device",
    ) -> Objective:
        """The loss of this name, None for the usual one; class weights follow from the images `train`."""

    def mix(self, targets: Targets, rows: "Tensor", partners: "Tensor", fractions: "Tensor") -> Targets:
        """Of each target in `rows` its fraction (n,), and the rest of that in `partners`, where `can_mix`."""
        raise InputError(f"images cannot be mixed in {self.name}; leave --mixup out")

    @abstractmethod
    def accumulator(self) -> Accumulator:
        """An empty one."""

    def final_accumulator(self) -> Accumulator:
        """An empty one for the figures of a finished model, which may take longer than those that follow every
        epoch.
        """
        return self.accumulator()

    def examples(self, figures: Any) -> dict[str, Sequence[Mistake]]:
        """Kinds of answers that the report shows beside the mistakes, such as those the network was least sure of."""
        return {}

    @abstractmethod
    def picture(self, pixels: np.ndarray, mistake: Any) -> np.ndarray:
        """What the network saw of a mistake, pixels (h, w, C) uint8, with whatever belongs on it drawn."""

    @abstractmethod
    def readout(self, outputs: Outputs, temperature: float) -> "Tensor":
        """What a network gives, as D values of each image in [0, 1]: (n, D) float32, or (n, K, h, w) where pixels are
        labelled.

        Exported programs end with it.
        """

    @property
    @abstractmethod
    def num_values(self) -> int:
        """D."""

    @abstractmethod
    def answers(
        self, paths: Sequence[str], values: np.ndarray, sizes: np.ndarray, preprocessing: "Preprocessing", top: int
    ) -> Sequence[Answer]:
        """What the values (n, D) say of images of these (height, width) (n, 2), in their own pixels; `top` classes of
        each.
        """

    @abstractmethod
    def same_answers(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Which of the values (n, D) say what the reference (n, D) says, rounding aside: (n,) bool."""

    @abstractmethod
    def words(self, values: np.ndarray) -> str:
        """What the values (D,) of one image say, in a few words."""

    @abstractmethod
    def margin(self, values: np.ndarray) -> float:
        """How far the values (D,) of one image are from saying something else, at most 1."""

    def differences(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The largest difference of a value of each image, (n,); infinite where there is none to compare."""
        if values.shape != reference.shape:
            return np.full(len(reference), np.inf)
        result: np.ndarray = np.abs(values - reference).reshape(len(reference), -1).max(axis=1)
        return result

    def correct(self, values: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
        """Which of the values (n, D) are right by the labels (n,), (n,) bool; None where labels cannot tell."""
        return None

    def draw(self, image: np.ndarray, answer: Any) -> np.ndarray:
        """An answer drawn on its image (H, W, C) uint8; InputError where there is nothing to draw."""
        raise InputError(f"the answers of {self.name} are names, which nothing is drawn for; leave --out out")

    def mask_file(self, answer: Any) -> "Image.Image | None":
        """An answer's mask as a picture to be written beside the drawing; None where it has none."""
        return None

    def mask_classes(self) -> str | None:
        """What the values of mask files mean, as the text of a classes.csv beside them; None where there are no such
        files.
        """
        return None

    @property
    @abstractmethod
    def output_document(self) -> dict[str, Any]:
        """What an exported program says of its output."""

    def check_written_as(self, wanted: Iterable[str]) -> None:
        """Raise InputError unless the task's answers can be made into all of this, by the names of `written_as`."""
        if refused := [f"--{name.replace('_', '-')}" for name in wanted if name not in self.written_as]:
            verb = "is" if len(refused) == 1 else "are"
            instead = self.written_instead or f"use --{' or --'.join(self.written_as)}".replace("_", "-")
            raise InputError(f"{', '.join(refused)} {verb} not for {self.name}; {instead}")

    def check_loss(self, loss: str | None) -> None:
        """Raise InputError unless `loss` is one of `losses`, or None."""
        if loss is not None and loss not in self.losses:
            raise InputError(f"the loss of {self.name} must be {' or '.join(self.losses)} but is {loss!r}")


def each_tensor(targets: Targets, change: Callable[["Tensor"], "Tensor"]) -> Targets:
    """Targets with every tensor of theirs changed."""
    if isinstance(targets, dict):
        return {name: change(tensor) for name, tensor in targets.items()}
    return change(targets)


def tensors_of(targets: Targets) -> list["Tensor"]:
    """Every tensor of targets, in a fixed order."""
    return [targets[name] for name in sorted(targets)] if isinstance(targets, dict) else [targets]
