"""Detection: every object of an image, one of K classes each, and its box. n images. Nothing here imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.progress import Log, log_nothing
from striate.tasks.detection.matching import largest_differences, same_detections
from striate.tasks.detection.predictions import DetectedPrediction, detected
from striate.tasks.detection.values import HARD, NMS, NUM_DETECTIONS, VALUES_EACH, read_values
from striate.tasks.drawing import CLASS_COLORS, TRUTH, draw_box
from striate.tasks.task import Accumulator, Annotations, Objective, Task
from striate.units import percent
from striate.weights.task_outputs import num_outputs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from striate.data.dataset import Dataset

LEAST_SCORE = 0.3
"""Objects with a smaller score are not named."""
_NAMED = 4


@dataclass(frozen=True)
class Detection(Task):
    """Objects of `class_names`, of which there may be one only. The network gives a box and K scores at every place it
    looks at. `nms` says what becomes of boxes that overlap surer ones, see NMS.
    """

    nms: str = HARD

    name: ClassVar[str] = "detection"
    score_name: ClassVar[str] = "ap"
    score_label: ClassVar[str] = "AP"
    train_score_name: ClassVar[str | None] = "found"
    losses: ClassVar[tuple[str, ...]] = ("task_aligned",)
    least_classes: ClassVar[int] = 1
    smooths_labels: ClassVar[bool] = False
    sees_whole_image: ClassVar[bool] = True
    network_kind: ClassVar[str] = "detector"
    most_at_once: ClassVar[int] = 32
    picture_px: ClassVar[int] = 320
    written_as: ClassVar[tuple[str, ...]] = ("boxes",)
    written_instead: ClassVar[str] = "an image has many objects, whose boxes go to --boxes PATH"
    support_of: ClassVar[str] = "objects"
    usual_part: ClassVar[str] = "fcos"
    usual_image_size: ClassVar[int | None] = 320

    def __post_init__(self) -> None:
        if self.nms not in NMS:
            raise InputError(f"nms must be {' or '.join(NMS)} but is {self.nms!r}")

    def with_nms(self, nms: str) -> "Detection":
        """The same task with this suppression of overlapping boxes, one of NMS."""
        return replace(self, nms=nms)

    def settings(self) -> dict[str, Any]:
        """{"nms"} where it is not the usual one."""
        return {} if self.nms == HARD else {"nms": self.nms}

    @property
    def overfit_loss(self) -> None:
        """None: what the scores should be grows with how well the boxes fit, and the loss with it."""
        return None

    @classmethod
    def problem_with(cls, dataset: "Dataset") -> str | None:
        """None where there are objects."""
        if dataset.objects is None:
            return (
                "it has no boxes; give a Pascal VOC or KITTI folder, COCO JSON, YOLO text files, "
                "or a CSV with the columns path, label, x1, y1, x2, y2"
            )
        return None if (dataset.objects.labels >= 0).any() else "none of its images has an object"

    @classmethod
    def class_names_of(cls, dataset: "Dataset") -> tuple[str, ...]:
        """Those of all objects."""
        return dataset.class_names if dataset.objects is None else dataset.objects.class_names

    def for_splits(self, dataset: "Dataset") -> "Dataset":
        """All images alike: each has objects of several classes."""
        return replace(dataset, class_names=("images",), labels=np.zeros(len(dataset), np.int64))

    def image_counts(self, annotations: Any, indices: np.ndarray) -> dict[str, int]:
        """How many objects of each class these images have."""
        objects = annotations.objects
        chosen = np.isin(objects.images, indices) & ~objects.are_ignored & (objects.labels >= 0)
        counts = np.bincount(objects.labels[chosen], minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))

    def num_outputs(self, output: str) -> int:
        """K."""
        return num_outputs(self.name, len(self.class_names), output)

    def annotations(
        self,
        dataset: "Dataset",
        *,
        log: Log = log_nothing,
        labels: np.ndarray | None = None,  # noqa: ARG002 - classes travel by name
        preprocessing: Preprocessing | None = None,  # noqa: ARG002
    ) -> Annotations:
        """All objects of each image."""
        from striate.tasks.detection.annotations import read_objects

        return read_objects(dataset, self.class_names, log)

    def objective(
        self,
        annotations: Annotations,  # noqa: ARG002
        train: np.ndarray,  # noqa: ARG002
        *,
        loss: str | None = None,  # noqa: ARG002
        label_smoothing: float = 0.0,  # noqa: ARG002
        use_class_weights: bool = False,
        device: "torch.device",  # noqa: ARG002
    ) -> Objective:
        """That of the network's kind: see tasks/detection/loss.py."""
        from striate.tasks.detection.loss import DetectionLoss

        if use_class_weights:
            raise InputError("class weights are for classification; use --balanced-sampling")
        return DetectionLoss()

    def accumulator(self) -> Accumulator:
        """Detections and objects of every image. InputError where the library for average precision is not
        installed.
        """
        from striate.tasks.detection.average_precision import require_library
        from striate.tasks.detection.figures import DetectionAccumulator

        require_library()
        return DetectionAccumulator(self.class_names, nms=self.nms)

    def picture(self, pixels: np.ndarray, mistake: Any) -> np.ndarray:
        """The pixels with the true boxes in blue and those found in their classes' colours."""
        height, width = pixels.shape[:2]
        sides = np.array([width, height, width, height], float)
        for each in mistake.objects:
            pixels = draw_box(pixels, (np.clip(each["box"], 0, 1) * sides).tolist(), TRUTH)
        for each in mistake.found:
            color = self._color(self.class_names.index(each["class"]))
            pixels = draw_box(pixels, (np.array(each["box"]) * sides).tolist(), color)
        return pixels

    def readout(self, outputs: Any, temperature: float) -> "Tensor":  # noqa: ARG002
        """NUM_DETECTIONS detections of each image after suppression, best first: (n, D * 6) float32."""
        from striate.tasks.detection.decode import detections

        return detections(outputs, nms=self.nms)

    @property
    def num_values(self) -> int:
        """Six of each detection."""
        return NUM_DETECTIONS * VALUES_EACH

    def answers(
        self,
        paths: Sequence[str],
        values: np.ndarray,
        sizes: np.ndarray,
        preprocessing: Preprocessing,
        top: int,  # noqa: ARG002 - an object has one class
    ) -> list[DetectedPrediction]:
        """The objects of each image with a score of LEAST_SCORE or more."""
        return detected(paths, values, sizes, preprocessing, self.class_names, LEAST_SCORE)

    def same_answers(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Whether the same objects are named, boxes that overlap by SAME_IOU."""
        return same_detections(values, reference, len(self.class_names), LEAST_SCORE)

    def differences(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The largest difference of a box's border or score, detection by detection, in whatever order they come."""
        return largest_differences(values, reference, len(self.class_names), LEAST_SCORE)

    def words(self, values: np.ndarray) -> str:
        """How many objects, and the surest of them."""
        (found,) = read_values(values[None], len(self.class_names))
        own = found.above(LEAST_SCORE)
        named = ", ".join(
            f"{self.class_names[label]} {score:.2f}"
            for label, score in zip(own.labels[:_NAMED], own.scores, strict=False)
        )
        more = ", ..." if len(own.scores) > _NAMED else ""
        return f"{len(own.scores)} object{'s' * (len(own.scores) != 1)}{': ' * bool(named)}{named}{more}"

    def margin(self, values: np.ndarray) -> float:
        """How far the nearest score is from where an object begins or ceases to be named."""
        (found,) = read_values(values[None], len(self.class_names))
        return float(np.abs(found.scores - LEAST_SCORE).min(initial=1.0))

    def draw(self, image: np.ndarray, answer: DetectedPrediction) -> np.ndarray:
        """Each object's box, class and score on the image (H, W, C) uint8: (H, W, 3)."""
        for each in reversed(answer.objects):
            words = f"{each.name} {percent(each.score, 0)}" if len(self.class_names) > 1 else percent(each.score, 0)
            image = draw_box(image, each.box_xyxy, self._color(each.index), words)
        return image

    def _color(self, label: int) -> tuple[int, int, int]:
        return CLASS_COLORS[label % len(CLASS_COLORS)]

    @property
    def output_document(self) -> dict[str, Any]:
        """What the columns of the output are."""
        return {
            "name": "detections",
            "dtype": "float32",
            "shape": ["N", self.num_values],
            "rows": [NUM_DETECTIONS, VALUES_EACH],
            "columns": {"box_xyxy": [0, 4], "score": [4, 5], "class_divided_by_number_of_classes": [5, 6]},
            "box_units": "fractions of the image after resizing and cropping",
            "order": "best first; rows of zeros follow where there are fewer",
        }
