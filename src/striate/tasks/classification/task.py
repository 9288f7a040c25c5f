"""Classification: one of K classes for a whole image. N images, K classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from striate.data.geometry import Geometry
from striate.data.preprocessing import Preprocessing
from striate.progress import Log, log_nothing
from striate.tasks.classification.predictions import Prediction, class_answers
from striate.tasks.task import Accumulator, Annotations, Objective, Task
from striate.weights.task_outputs import num_outputs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from striate.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class ClassLabels:
    """The class of each image, (N,) int64."""

    labels: np.ndarray

    def targets(self, indices: np.ndarray, geometry: Geometry) -> "Tensor":  # noqa: ARG002 - a class stays, however it is moved
        """Labels (n,) int64."""
        import torch

        return torch.from_numpy(self.labels[indices])

    def digest_parts(self) -> list[bytes]:
        """Nothing beside the labels."""
        return []


@dataclass(frozen=True)
class Classification(Task):
    """One of `class_names` for a whole image; the network answers logits (N, K), or (N, 1) for two classes."""

    name: ClassVar[str] = "classification"
    score_name: ClassVar[str] = "accuracy"
    score_label: ClassVar[str] = "accuracy"
    score_figure: ClassVar[str | None] = "top1_accuracy"
    losses: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    moves_targets: ClassVar[bool] = False
    can_mix: ClassVar[bool] = True
    has_probabilities: ClassVar[bool] = True

    @property
    def num_guesses(self) -> int:
        """K."""
        return len(self.class_names)

    @classmethod
    def problem_with(cls, dataset: "Dataset") -> str | None:
        """None where images have classes, and not their pixels alone."""
        if dataset.masks is None:
            return None
        return (
            "its classes are those of pixels, by masks; use --task segmentation, or name a folder with a subfolder for "
            "each class"
        )

    def usable(self, dataset: "Dataset") -> np.ndarray:
        """(N,) bool: all images, but those without an object where the source names classes of objects."""
        if dataset.objects is None:
            return np.ones(len(dataset), bool)
        result: np.ndarray = np.isin(np.arange(len(dataset)), dataset.objects.images[dataset.objects.labels >= 0])
        return result

    def num_outputs(self, output: str) -> int:
        """One a class, or a single one for two with a sigmoid."""
        return num_outputs(self.name, len(self.class_names), output)

    def annotations(
        self,
        dataset: "Dataset",
        *,
        log: Log = log_nothing,  # noqa: ARG002
        labels: np.ndarray | None = None,
        preprocessing: Preprocessing | None = None,  # noqa: ARG002
    ) -> ClassLabels:
        """The class of each image."""
        return ClassLabels(dataset.labels if labels is None else labels)

    def objective(
        self,
        annotations: Annotations,
        train: np.ndarray,
        *,
        loss: str | None = None,
        label_smoothing: float = 0.0,
        use_class_weights: bool = False,
        device: "torch.device",
    ) -> Objective:
        """Cross-entropy; class weights are inverse to how often a class is trained on."""
        from striate.tasks.classification.loss import ClassificationLoss, class_weights_of

        self.check_loss(loss)
        if not use_class_weights:
            return ClassificationLoss(label_smoothing)
        weights = class_weights_of(annotations.labels[train], len(self.class_names), device)
        return ClassificationLoss(label_smoothing, weights)

    def mix(self, targets: Any, rows: "Tensor", partners: "Tensor", fractions: "Tensor") -> "Tensor":
        """Soft labels (n, K)."""
        from striate.tasks.classification.loss import mix_labels

        return mix_labels(targets, rows, partners, fractions, len(self.class_names))

    def accumulator(self) -> Accumulator:
        """Five numbers an image."""
        from striate.tasks.classification.figures import ClassificationAccumulator

        return ClassificationAccumulator(self.class_names)

    def examples(self, figures: Any) -> dict[str, Sequence[Any]]:
        """ "correct" and "least_certain", see the figures."""
        return dict(figures.examples)

    def picture(self, pixels: np.ndarray, mistake: Any) -> np.ndarray:  # noqa: ARG002
        """The pixels as they are."""
        return pixels

    def readout(self, outputs: Any, temperature: float) -> "Tensor":
        """Probabilities (N, K) float32."""
        from striate.tasks.classification.logits import class_probabilities

        return class_probabilities(outputs, temperature)

    @property
    def num_values(self) -> int:
        """K probabilities."""
        return len(self.class_names)

    def answers(
        self,
        paths: Sequence[str],
        values: np.ndarray,
        sizes: np.ndarray,  # noqa: ARG002
        preprocessing: Preprocessing,  # noqa: ARG002
        top: int,
    ) -> list[Prediction]:
        """The `top` most probable classes of each image."""
        return class_answers(paths, values, self.class_names, top)

    def same_answers(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Whether the most probable class is the same; of equally probable ones the first counts."""
        return self.correct(values, reference.argmax(axis=1))

    def words(self, values: np.ndarray) -> str:
        """The most probable class."""
        return self.class_names[int(values.argmax())]

    def margin(self, values: np.ndarray) -> float:
        """How far apart the two most probable classes are."""
        second, best = np.sort(values)[-2:]
        return float(best - second)

    def correct(self, values: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Whether the most probable class is the label."""
        result: np.ndarray = values.argmax(axis=1) == labels
        return result

    @property
    def output_document(self) -> dict[str, Any]:
        """Probabilities that sum to 1."""
        return {"name": "probabilities", "dtype": "float32", "shape": ["N", len(self.class_names)], "sums_to": 1}
