"""Semantic segmentation: one of K classes for every pixel. n images, h x w what the network sees. Nothing here imports
torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from striate.data.preprocessing import Preprocessing
from striate.errors import InputError
from striate.progress import Log, log_nothing
from striate.tasks.drawing import as_rgb
from striate.tasks.segmentation.predictions import MaskPrediction, mask_predictions, overlay
from striate.tasks.task import Accumulator, Annotations, Objective, Task
from striate.units import percent
from striate.weights.task_outputs import num_outputs

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from striate.data.dataset import Dataset

SAME_FRACTION = 0.999
"""Masks that agree in so many of their pixels say the same."""


@dataclass(frozen=True)
class Segmentation(Task):
    """One of `class_names` for every pixel; the network answers logits (n, K, h, w) for images of h x w pixels."""

    loss: str = "cross_entropy"

    name: ClassVar[str] = "segmentation"
    score_name: ClassVar[str] = "mean_iou"
    score_label: ClassVar[str] = "mean IoU"
    losses: ClassVar[tuple[str, ...]] = ("cross_entropy", "dice", "cross_entropy_dice")
    least_classes: ClassVar[int] = 1
    network_kind: ClassVar[str] = "segmenter"
    usual_part: ClassVar[str] = "unet"
    usual_network: ClassVar[str | None] = "unet_small"
    labels_pixels: ClassVar[bool] = True
    written_as: ClassVar[tuple[str, ...]] = ()
    written_instead: ClassVar[str] = "every pixel has its class, and masks are written to a folder by --out"
    picture_px: ClassVar[int] = 400
    most_at_once: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if self.loss not in self.losses:
            raise InputError(f"the loss of {self.name} must be {' or '.join(self.losses)} but is {self.loss!r}")

    @property
    def overfit_loss(self) -> float:
        """Borders are hard to fit to the pixel."""
        return 0.3

    @property
    def num_guesses(self) -> int | None:
        """K, where the loss is cross-entropy."""
        return len(self.class_names) if self.loss == "cross_entropy" and len(self.class_names) > 1 else None

    def settings(self) -> dict[str, Any]:
        """{"loss"}: which loss the network was fitted by."""
        return {"loss": self.loss}

    def with_loss(self, loss: str | None) -> "Segmentation":
        """The same task by another loss."""
        self.check_loss(loss)
        return self if loss is None else replace(self, loss=loss)

    @classmethod
    def problem_with(cls, dataset: "Dataset") -> str | None:
        """None where there are masks."""
        if dataset.masks is None:
            return (
                "it has no masks; give a folder with images/ and masks/ (or labels/), whose files have the same names"
            )
        return None

    def image_counts(self, annotations: Annotations, indices: np.ndarray) -> dict[str, int]:
        """How many of these images have a pixel of each class."""
        packed: Any = annotations
        counts = packed.image_counts(indices, len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))

    def num_outputs(self, output: str) -> int:
        """K."""
        return num_outputs(self.name, len(self.class_names), output)

    def annotations(
        self,
        dataset: "Dataset",
        *,
        log: Log = log_nothing,
        labels: np.ndarray | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> Annotations:
        """The mask of each image, in the size that the preprocessing gives it."""
        from striate.tasks.segmentation.annotations import read_masks

        assert preprocessing is not None
        return read_masks(dataset, dataset.labels if labels is None else labels, self.class_names, preprocessing, log)

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
        """Cross-entropy, Dice or both; class weights follow from the pixels of the training masks (ENet's).

        DataError where no pixel of theirs has a class.
        """
        from striate.tasks.segmentation.balance import check_counts, class_weights_of
        from striate.tasks.segmentation.loss import SegmentationLoss

        self.check_loss(loss)
        check_counts(annotations, train)
        weights = class_weights_of(annotations, train, len(self.class_names), device) if use_class_weights else None
        return SegmentationLoss(len(self.class_names), loss or self.loss, weights, label_smoothing)

    def accumulator(self) -> Accumulator:
        """Counts of pixels of each image."""
        from striate.tasks.segmentation.figures import SegmentationAccumulator

        return SegmentationAccumulator(self.class_names)

    def final_accumulator(self) -> Accumulator:
        """Boundary F and the worst masks as well."""
        from striate.tasks.segmentation.figures import SegmentationAccumulator

        return SegmentationAccumulator(self.class_names, is_final=True)

    def picture(self, pixels: np.ndarray, mistake: Any) -> np.ndarray:
        """The true mask over the pixels, and below it the predicted one: (2 h', w', 3)."""
        height, width = mistake.true.shape
        step = -(-pixels.shape[0] // height)
        small = as_rgb(pixels[::step, ::step])[:height, :width]
        count = len(self.class_names)
        return np.concatenate([overlay(small, mistake.true, count), overlay(small, mistake.predicted, count)])

    def readout(self, outputs: Any, temperature: float) -> "Tensor":
        """Probabilities (n, K, h, w) float32."""
        from striate.networks.auxiliary import WithAuxiliary

        logits = (outputs.logits if isinstance(outputs, WithAuxiliary) else outputs).float()
        probabilities: Tensor = (logits / temperature).softmax(dim=1)
        return probabilities

    @property
    def num_values(self) -> int:
        """K probabilities of each pixel."""
        return len(self.class_names)

    def answers(
        self,
        paths: Sequence[str],
        values: np.ndarray,
        sizes: np.ndarray,
        preprocessing: Preprocessing,
        top: int,  # noqa: ARG002
    ) -> list[MaskPrediction]:
        """The mask of each image in its own pixels."""
        if preprocessing.resize != "fit":
            raise InputError(f"masks are mapped back from whole images, resized by fit, not by {preprocessing.resize}")
        return mask_predictions(paths, values, sizes, self.class_names)

    def same_answers(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Whether SAME_FRACTION of the pixels have the same class."""
        same: np.ndarray = (values.argmax(axis=1) == reference.argmax(axis=1)).mean(axis=(1, 2)) >= SAME_FRACTION
        return same

    def differences(self, values: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The largest difference of a probability in all but the 1 - SAME_FRACTION of pixels that differ most, (n,).

        An image has as many answers as pixels, and among hundreds of thousands a few lie where rounding is amplified.
        """
        if values.shape != reference.shape:
            return np.full(len(reference), np.inf)
        of_pixels = np.abs(values - reference).max(axis=1).reshape(len(reference), -1)
        result: np.ndarray = np.quantile(of_pixels, SAME_FRACTION, axis=1)
        return np.where(np.isfinite(of_pixels).all(axis=1), result, np.inf)

    def words(self, values: np.ndarray) -> str:
        """The two classes with the most pixels."""
        counts = np.bincount(values.argmax(axis=0).reshape(-1), minlength=len(self.class_names))
        order = np.argsort(-counts, kind="stable")[:2].tolist()
        return ", ".join(f"{self.class_names[k]} {percent(counts[k] / counts.sum(), 1)}" for k in order)

    def margin(self, values: np.ndarray) -> float:
        """How far apart the two most probable classes are where they are nearest, of the pixels that may differ."""
        if len(values) < 2:
            return 1.0
        two = np.sort(values, axis=0)[-2:]
        gaps = np.sort((two[1] - two[0]).reshape(-1))
        return float(gaps[int((1 - SAME_FRACTION) * len(gaps))])

    def draw(self, image: np.ndarray, answer: MaskPrediction) -> np.ndarray:
        """The mask's colours over the image (H, W, C) uint8: (H, W, 3)."""
        return overlay(as_rgb(image), answer.mask, len(self.class_names))

    def mask_file(self, answer: MaskPrediction) -> "Image.Image":
        """The mask as a palette picture whose values are the classes."""
        from striate.tasks.segmentation.predictions import paletted

        return paletted(answer.mask, len(self.class_names))

    def mask_classes(self) -> str:
        """index,name,r,g,b: the list by which such masks are read again, and its colours those of the overlays."""
        from striate.tasks.segmentation.predictions import classes_table

        return classes_table(self.class_names)

    @property
    def output_document(self) -> dict[str, Any]:
        """Probabilities of each pixel that sum to 1."""
        shape = ["N", len(self.class_names), "height", "width"]
        return {"name": "pixel_probabilities", "dtype": "float32", "shape": shape, "sums_to": 1, "sums_over": 1}
