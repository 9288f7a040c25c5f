"""Losses that an attack climbs instead of its criterion's own. N images, K classes; one number an image.

DLR does not change when the logits are scaled, so that a network whose probabilities are 0 and 1 to the last digit
still has gradients (Croce & Hein 2020, arXiv:2003.01690, section 4.1).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from striate.errors import InputError
from striate.robustness.criteria import Criterion, best_other

LossFn = Callable[[Tensor, Tensor], Tensor]
"""Outputs (N, ...) and labels (N, ...) -> (N,), to be made larger."""
_TINY = 1e-12


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """The difference of logits ratio (eq. 6): -(z_y - max of the others) / (z_1st - z_3rd). Needs three classes."""
    if logits.shape[1] < 3:
        raise InputError(f"the DLR loss needs at least 3 classes but the model has {logits.shape[1]}; take apgd_ce")
    ordered = logits.topk(3, dim=1).values
    own = logits.gather(1, labels[:, None])[:, 0]
    return (best_other(logits, labels) - own) / (ordered[:, 0] - ordered[:, 2] + _TINY)


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """Towards one class (eq. 7): -(z_y - z_t) / (z_1st - (z_3rd + z_4th) / 2). Needs four classes."""
    if logits.shape[1] < 4:
        raise InputError(f"the targeted DLR loss needs at least 4 classes but the model has {logits.shape[1]}")
    ordered = logits.topk(4, dim=1).values
    difference = logits.gather(1, targets[:, None])[:, 0] - logits.gather(1, labels[:, None])[:, 0]
    return difference / (ordered[:, 0] - (ordered[:, 2] + ordered[:, 3]) / 2 + _TINY)


def logit_difference(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The target's logit less the label's."""
    return logits.gather(1, targets[:, None])[:, 0] - logits.gather(1, labels[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class WithLoss:
    """A criterion that is climbed by another loss than its own."""

    inner: Criterion
    loss_fn: LossFn

    @property
    def name(self) -> str:
        """That of the criterion."""
        return self.inner.name

    def is_met(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """As the criterion decides."""
        return self.inner.is_met(outputs, labels)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The other loss."""
        return self.loss_fn(outputs, labels)

    def margin(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The criterion's."""
        return self.inner.margin(outputs, labels)

    def take(self, rows: Tensor) -> "WithLoss":
        """The same for some images."""
        return WithLoss(self.inner.take(rows), self.loss_fn)


@dataclass(frozen=True, eq=False)
class Towards:
    """A criterion that is climbed towards one class for each image, `targets` (N,), though any success counts."""

    inner: Criterion
    targets: Tensor
    loss_fn: Callable[[Tensor, Tensor, Tensor], Tensor]

    @property
    def name(self) -> str:
        """That of the criterion."""
        return self.inner.name

    def is_met(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """As the criterion decides."""
        return self.inner.is_met(outputs, labels)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss towards the targets."""
        return self.loss_fn(outputs, labels, self.targets)

    def margin(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The criterion's."""
        return self.inner.margin(outputs, labels)

    def take(self, rows: Tensor) -> "Towards":
        """The same for some images."""
        return Towards(self.inner.take(rows), self.targets[rows], self.loss_fn)
