"""The classification loss as one value: how far the logits of a batch are from its targets, and how much the batch
weighs.

N images, K classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from striate.data.augmentation import mix_pairs
from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.classification.logits import balanced_class_weights, class_logits, classification_loss


@dataclass(frozen=True)
class ClassificationLoss:
    """Cross-entropy, as in tasks.classification.logits, with label smoothing and class weights (K,)."""

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    def __call__(self, outputs: Tensor | WithAuxiliary, targets: Any) -> Tensor:
        """The mean over the batch by weight, a scalar: logits (N, K), targets (N,) labels or (N, K) soft labels.

        The losses of auxiliary heads are added, times their weight.
        """
        if isinstance(outputs, WithAuxiliary):
            auxiliary = sum(self(each, targets) for each in outputs.auxiliary)
            return self(outputs.logits, targets) + outputs.weight * auxiliary
        return classification_loss(
            class_logits(outputs), targets, label_smoothing=self.label_smoothing, class_weights=self.class_weights
        )

    def weight(self, targets: Any) -> Tensor | float:
        """What the mean was divided by, so that the means of parts can be joined: the number of images, or the sum of
        their weights.
        """
        if self.class_weights is None:
            return float(len(targets))
        if targets.is_floating_point():
            return (targets @ self.class_weights).sum()
        return self.class_weights[targets].sum()

    def score_sum(self, outputs: Tensor | WithAuxiliary, targets: Any) -> Tensor:
        """How many images are given the class that has the largest part of their target."""
        labels = targets.argmax(dim=1) if targets.is_floating_point() else targets
        return (class_logits(outputs).detach().argmax(dim=1) == labels).sum()


def class_weights_of(labels: np.ndarray, num_classes: int, device: torch.device) -> Tensor:
    """Weights (K,) inverse to how often a class occurs among the labels (N,)."""
    return balanced_class_weights(torch.from_numpy(labels), num_classes).to(device)


def mix_labels(labels: Any, rows: Tensor, partners: Tensor, fractions: Tensor, num_classes: int) -> Tensor:
    """Soft labels (n, K): of each label in `rows` (n,) its fraction (n,), and the rest of that in `partners` (n,)."""
    one_hot = F.one_hot(labels, num_classes).to(torch.float32)
    return mix_pairs(one_hot[rows], one_hot[partners], fractions)
