"""Losses of segmentation: cross-entropy of every pixel, Dice, or both, with classes weighed up that have few pixels.

n images, K classes, h x w pixels. Pixels whose target is IGNORED cost nothing and count nowhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from striate.data.masks import IGNORED
from striate.networks.auxiliary import WithAuxiliary

LOG_OFFSET = 1.02
"""Of arXiv:1606.02147, section 5.2: no class weighs more than 1 / ln(1.02), about 50."""
SMOOTH = 1.0
"""Pixels added to both sides of the Dice fraction, so that a class that a batch lacks has no gradient of its own."""


@dataclass(frozen=True, eq=False)
class SegmentationLoss:
    """Of `kind` "cross_entropy", "dice" or "cross_entropy_dice" (their sum); `class_weights` (K,) or None.

    Cross-entropy is in nats, the mean over pixels by the weights of their classes: guessing costs ln K whatever the
    weights. Dice is 1 - the mean over the classes that a batch holds of 2 |A and B| / (|A| + |B|) on probabilities
    (V-Net, arXiv:1606.04797, section 3, without its squares).
    """

    num_classes: int
    kind: str = "cross_entropy"
    class_weights: Tensor | None = None
    label_smoothing: float = 0.0

    def __call__(self, outputs: Any, targets: Any) -> Tensor:
        """Logits (n, K, h, w), or with auxiliary ones, and targets (n, h, w) uint8 -> a scalar."""
        if isinstance(outputs, WithAuxiliary):
            auxiliary: Any = sum(self(each, targets) for each in outputs.auxiliary)
            return self(outputs.logits, targets) + outputs.weight * auxiliary
        classes = targets.long()
        loss = outputs.new_zeros((), dtype=torch.float32)
        if self.kind != "dice":
            loss = loss + self._cross_entropy(outputs.float(), classes)
        if self.kind != "cross_entropy":
            loss = loss + dice_loss(outputs.float(), classes)
        return loss

    def _cross_entropy(self, logits: Tensor, classes: Tensor) -> Tensor:
        summed = F.cross_entropy(
            logits,
            classes,
            weight=self.class_weights,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return summed / self.weight(classes)

    def weight(self, targets: Any) -> Tensor:
        """The weights of all pixels that count, at least 1."""
        counted = targets != IGNORED
        if self.class_weights is None:
            return counted.sum().clamp(min=1).float()
        per_class = torch.bincount(targets[counted].long(), minlength=self.num_classes)
        return (per_class * self.class_weights).sum().clamp(min=1).float()

    def score_sum(self, outputs: Any, targets: Any) -> Tensor:
        """n times the mean IoU of the batch as a whole."""
        logits = (outputs.logits if isinstance(outputs, WithAuxiliary) else outputs).detach()
        hits, predicted, true = overlap_counts(logits.argmax(dim=1), targets, self.num_classes)
        unions = (predicted + true - hits).sum(dim=0)
        ious = hits.sum(dim=0) / unions.clamp(min=1)
        return len(logits) * (ious * (unions > 0)).sum() / (unions > 0).sum().clamp(min=1)


def dice_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Of logits (n, K, h, w) and classes (n, h, w) int64 with IGNORED: a scalar in [0, 1]."""
    num_classes = logits.shape[1]
    counted = (classes != IGNORED).unsqueeze(1)
    probabilities = logits.softmax(dim=1) * counted
    one_hot = (
        F.one_hot(classes.clamp(max=num_classes), num_classes + 1)[..., :num_classes].permute(0, 3, 1, 2) * counted
    )
    shared = (probabilities * one_hot).sum(dim=(0, 2, 3))
    sizes = probabilities.sum(dim=(0, 2, 3)) + one_hot.sum(dim=(0, 2, 3))
    dice = (2 * shared + SMOOTH) / (sizes + SMOOTH)
    present = one_hot.sum(dim=(0, 2, 3)) > 0
    return 1 - (dice * present).sum() / present.sum().clamp(min=1)


def overlap_counts(predicted: Tensor, targets: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of each image and class that are predicted rightly, predicted at all, and true: (n, K) int64 each; of
    those that count.
    """
    n = len(targets)
    counted = targets != IGNORED
    offsets = torch.arange(n, device=targets.device).view(-1, 1, 1) * num_classes
    true = (targets.long() + offsets)[counted]
    given = (predicted.long() + offsets)[counted]
    counts = [
        torch.bincount(each, minlength=n * num_classes).view(n, num_classes)
        for each in (true[true == given], given, true)
    ]
    return counts[0], counts[1], counts[2]


def log_weights(pixels: np.ndarray) -> np.ndarray:
    """1 / ln(1.02 + p) of the fraction p of each class's pixels (ENet, arXiv:1606.02147, section 5.2), their mean by
    pixel being 1.

    A class without pixels weighs nothing.
    """
    fractions = pixels / max(1, pixels.sum())
    weights = 1 / np.log(LOG_OFFSET + fractions)
    return _balanced(np.where(pixels > 0, weights, 0.0), fractions)


def _balanced(weights: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    result: np.ndarray = weights / max(1e-12, float((weights * fractions).sum()))
    return result
