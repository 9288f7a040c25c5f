"""The loss of a recipe as one value: how far the logits of a batch are from its targets, and how much the batch
weighs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from striate.networks.auxiliary import WithAuxiliary
from striate.tasks.classification.logits import balanced_class_weights, class_logits, classification_loss
from striate.training.loader import Loader
from striate.training.recipe import Recipe


@dataclass(frozen=True)
class ClassificationLoss:
    """Cross-entropy, as in tasks.classification, with the recipe's label smoothing and class weights (K,)."""

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None

    def __call__(self, answer: Tensor | WithAuxiliary, targets: Tensor) -> Tensor:
        """The mean over the batch by weight, a scalar: logits (N, K), targets (N,) labels or (N, K) shares.

        The losses of auxiliary heads are added, times their weight.
        """
        if isinstance(answer, WithAuxiliary):
            return self(answer.logits, targets) + answer.weight * sum(self(each, targets) for each in answer.auxiliary)
        return classification_loss(
            class_logits(answer), targets, label_smoothing=self.label_smoothing, class_weights=self.class_weights
        )

    def weight(self, targets: Tensor) -> Tensor | float:
        """What the mean was divided by, so that the means of parts can be joined: the number of images, or the sum of
        their weights.
        """
        if self.class_weights is None:
            return float(len(targets))
        if targets.is_floating_point():
            return (targets @ self.class_weights).sum()
        return self.class_weights[targets].sum()


def loss_of(recipe: Recipe, loader: Loader, device: torch.device) -> ClassificationLoss:
    """The recipe's loss on these data; class weights are inverse to how often a class is trained on."""
    if not recipe.use_class_weights:
        return ClassificationLoss(recipe.label_smoothing)
    labels = torch.from_numpy(loader.labels[loader.train])
    return ClassificationLoss(recipe.label_smoothing, balanced_class_weights(labels, loader.num_classes).to(device))
