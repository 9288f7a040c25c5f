"""Classification and localisation: one of K classes for an image, and one box. n images. Nothing here imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.progress import Log, log_nothing
from striate.tasks.classification.predictions import best_classes
from striate.tasks.drawing import ANSWER, TRUTH, draw_box
from striate.tasks.localization.predictions import LocalizedPrediction, localized
from striate.tasks.task import Accumulator, Annotations, Objective, Task
from striate.units import percent
from striate.weights.task_outputs import NUM_BOX_OUTPUTS, num_outputs

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from striate.data.dataset import Dataset

LEAST_PX = 64
"""Networks for smaller images have too few places left for a locator."""
SAME_IOU = 0.95
"""Boxes that overlap by so much say the same."""


@dataclass(frozen=True)
class Localization(Task):
    """One of `class_names`, of which there may be one only, and one box. `loss` is that of the box.

    The network gives K logits and four numbers, the box's corners as fractions of what it sees; for one class the four
    alone.
    """

    loss: str = "l2"

    name: ClassVar[str] = "localization"
    score_name: ClassVar[str] = "localization_accuracy"
    score_label: ClassVar[str] = "both right"
    losses: ClassVar[tuple[str, ...]] = ("l2", "smooth_l1", "giou")
    least_classes: ClassVar[int] = 1
    sees_whole_image: ClassVar[bool] = True
    network_kind: ClassVar[str] = "locator"
    usual_part: ClassVar[str] = "locator"

    def __post_init__(self) -> None:
        if self.loss not in self.losses:
            raise InputError(f"the loss of {self.name} must be {' or '.join(self.losses)} but is {self.loss!r}")

    @property
    def overfit_loss(self) -> float:
        """A generalised IoU of 0.7, which is hard to come by, or corners within a twentieth of the image."""
        return 0.3 if self.loss == "giou" else 0.1

    def settings(self) -> dict[str, Any]:
        """{"loss"}: which loss the boxes were fitted by."""
        return {"loss": self.loss}

    def with_loss(self, loss: str | None) -> "Localization":
        """The same task by another loss."""
        self.check_loss(loss)
        return self if loss is None else replace(self, loss=loss)

    @classmethod
    def problem_with(cls, dataset: "Dataset") -> str | None:
        """None where there is a box."""
        if dataset.boxes is None:
            return "it has no boxes; give a CSV with the columns path, label, x1, y1, x2, y2, or a Pascal VOC folder"
        return None if np.isfinite(dataset.boxes).all(axis=1).any() else "none of its images has a box that lies in it"

    def usable(self, dataset: "Dataset") -> np.ndarray:
        """(N,) bool: the images with a box."""
        assert dataset.boxes is not None
        result: np.ndarray = np.isfinite(dataset.boxes).all(axis=1)
        return result

    def network_name(self, name: str) -> str:
        """A locator on a network for photos; networks for images of one size, or for small images, stand for
        themselves.
        """
        from striate.networks.catalogue import entry_for

        entry = entry_for(name)
        if entry.kind == "classifier" and (entry.is_fixed_size or min(entry.input_size[1:]) < LEAST_PX):
            return name
        return super().network_name(name)

    def num_outputs(self, output: str) -> int:
        """K + 4, or 4 for a single class."""
        return num_outputs(self.name, len(self.class_names), output)

    def initialize_head(self, head: "nn.Module") -> None:
        """Let every image's first box be the middle one, half as wide and high as the image, where the head has
        biases.
        """
        from striate.tasks.localization.head import start_from_the_middle

        start_from_the_middle(head)

    def annotations(
        self,
        dataset: "Dataset",
        *,
        log: Log = log_nothing,
        labels: np.ndarray | None = None,
        preprocessing: Preprocessing | None = None,  # noqa: ARG002
    ) -> Annotations:
        """The class and the box of each image."""
        from striate.tasks.localization.annotations import read_boxes

        if num_without := int((~self.usable(dataset)).sum()):
            log(f"left out {num_without} image{'s' * (num_without > 1)} without a box")
        return read_boxes(dataset, dataset.labels if labels is None else labels, log)

    def objective(
        self,
        annotations: Annotations,  # noqa: ARG002
        train: np.ndarray,  # noqa: ARG002
        *,
        loss: str | None = None,
        label_smoothing: float = 0.0,
        use_class_weights: bool = False,
        device: "torch.device",  # noqa: ARG002
    ) -> Objective:
        """Cross-entropy of the class and the loss of the box."""
        from striate.tasks.localization.loss import LocalizationLoss

        if use_class_weights:
            raise InputError("class weights are for classification; use --balanced-sampling")
        return LocalizationLoss(len(self.class_names), loss or self.loss, label_smoothing)

    def accumulator(self) -> Accumulator:
        """A dozen numbers an image."""
        from striate.tasks.localization.figures import LocalizationAccumulator

        return LocalizationAccumulator(self.class_names, self.loss)

    def picture(self, pixels: np.ndarray, mistake: Any) -> np.ndarray:
        """The pixels with the true box in blue and the predicted one in orange."""
        height, width = pixels.shape[:2]
        sides = np.array([width, height, width, height], float)
        with_truth = draw_box(pixels, (np.clip(mistake.true_box, 0, 1) * sides).tolist(), TRUTH)
        return draw_box(with_truth, (np.array(mistake.box) * sides).tolist(), ANSWER)

    def readout(self, outputs: Any, temperature: float) -> "Tensor":  # noqa: ARG002
        """K probabilities, 1 for a single class, and the box as fractions of what the network sees: (n, K + 4)
        float32.
        """
        from striate.tasks.localization.loss import read_values

        return read_values(outputs, len(self.class_names))

    @property
    def num_values(self) -> int:
        """K probabilities and four borders."""
        return len(self.class_names) + NUM_BOX_OUTPUTS

    def answers(
        self, paths: Sequence[str], values: np.ndarray, sizes: np.ndarray, preprocessing: Preprocessing, top: int
    ) -> list[LocalizedPrediction]:
        """The `top` most probable classes of each image and its box in the image's pixels."""
        return localized(paths, values, sizes, preprocessing, self.class_names, top)

    def same_answers(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Whether the most probable class is the same, and the boxes overlap by SAME_IOU."""
        count = len(self.class_names)
        same_class = values[:, :count].argmax(axis=1) == reference[:, :count].argmax(axis=1)
        result: np.ndarray = same_class & (_ious(values[:, count:], reference[:, count:]) >= SAME_IOU)
        return result

    def words(self, values: np.ndarray) -> str:
        """The class, and the box as fractions of what the network sees."""
        box = ", ".join(f"{value:.3f}" for value in values[len(self.class_names) :])
        return f"{self.class_names[int(values[: len(self.class_names)].argmax())]} at {box}"

    def margin(self, values: np.ndarray) -> float:
        """How far apart the two most probable classes are; 1 for a single class. A box is no tie with any other."""
        best, _ = best_classes(values[None, : len(self.class_names)], 2)
        return float(best[0, 0] - best[0, 1]) if best.shape[1] > 1 else 1.0

    def draw(self, image: np.ndarray, answer: LocalizedPrediction) -> np.ndarray:
        """The box and the class on the image (H, W, C) uint8: (H, W, 3)."""
        best = answer.classes[0]
        words = f"{best.name} {percent(best.probability, 0)}" if len(self.class_names) > 1 else best.name
        return draw_box(image, answer.box_xyxy, ANSWER, words)

    @property
    def output_document(self) -> dict[str, Any]:
        """What the columns of the output are."""
        count = len(self.class_names)
        return {
            "name": "classes_and_box",
            "dtype": "float32",
            "shape": ["N", count + NUM_BOX_OUTPUTS],
            "columns": {"probabilities": [0, count], "box_xyxy": [count, count + NUM_BOX_OUTPUTS]},
            "box_units": "fractions of the image after resizing and cropping",
        }


def _ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union (n,) of boxes (n, 4)."""
    upper, lower = np.maximum(boxes[:, :2], others[:, :2]), np.minimum(boxes[:, 2:], others[:, 2:])
    shared = np.clip(lower - upper, 0, None).prod(axis=1)
    union = sum(np.clip(each[:, 2:] - each[:, :2], 0, None).prod(axis=1) for each in (boxes, others)) - shared
    result: np.ndarray = shared / np.maximum(union, 1e-12)
    return result
