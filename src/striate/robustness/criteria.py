"""What counts as a success of an attack, and what it climbs to get there. N images, K classes.

A criterion is a value beside the attack and the norm. `is_met` decides; `loss` is what gradients are taken of, one
number an image, larger nearer to success; `margin` is positive (or zero) where it is met, and is what attacks without
gradients climb.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.errors import InputError
from striate.tasks.classification.logits import first_best

MarginFn = Callable[[Tensor, Tensor], Tensor]
"""Outputs (N, ...) and labels (N, ...) -> (N,), above zero where the attack has succeeded, differentiable by the
outputs.
"""


class Criterion(Protocol):
    """What an attack asks of a criterion; `take` gives the criterion of some of the images."""

    @property
    def name(self) -> str: ...
    def is_met(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Outputs and labels of N images -> (N,) bool."""
        ...

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """What an attack by gradients makes larger: (N,)."""
        ...

    def margin(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """How far from success, below zero where it is none: (N,)."""
        ...

    def take(self, rows: Tensor) -> "Criterion":
        """The same for the images `rows`, indices or booleans (N,)."""
        ...


@dataclass(frozen=True)
class Untargeted:
    """Any class but the label."""

    name: str = "untargeted"

    def is_met(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Whether the most probable class (of equals the first) is another."""
        return first_best(outputs) != labels

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the label, in nats."""
        return F.cross_entropy(outputs, labels, reduction="none")

    def margin(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The best other logit less the label's."""
        return best_other(outputs, labels) - outputs.gather(1, labels[:, None])[:, 0]

    def take(self, rows: Tensor) -> "Untargeted":  # noqa: ARG002
        """Itself."""
        return self


@dataclass(frozen=True, eq=False)
class Targeted:
    """One class for each image, `targets` (N,) int64."""

    targets: Tensor
    name: str = "targeted"

    def is_met(self, outputs: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Whether the most probable class is the target."""
        return first_best(outputs) == self.targets

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Log-probability of the target."""
        return -F.cross_entropy(outputs, self.targets, reduction="none")

    def margin(self, outputs: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """The target's logit less the best other."""
        return outputs.gather(1, self.targets[:, None])[:, 0] - best_other(outputs, self.targets)

    def take(self, rows: Tensor) -> "Targeted":
        """The targets of these images."""
        return Targeted(self.targets[rows], self.name)


@dataclass(frozen=True)
class Confident:
    """Any class but the label, with at least the probability `probability`."""

    probability: float
    name: str = "confident"

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise InputError(f"probability must lie between 0 and 1 but is {self.probability:g}")

    def is_met(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Whether another class is as probable as that."""
        return (first_best(outputs) != labels) & (outputs.softmax(dim=1).amax(dim=1) >= self.probability)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Log-odds of the best other class against all else."""
        return self.margin(outputs, labels)

    def margin(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Log-odds of the best other class less those of `probability`."""
        wanted = torch.logit(torch.tensor(self.probability, device=outputs.device, dtype=outputs.dtype))
        other = best_other_class(outputs, labels)
        rest = outputs.scatter(1, other[:, None], -torch.inf).logsumexp(dim=1)
        return outputs.gather(1, other[:, None])[:, 0] - rest - wanted

    def take(self, rows: Tensor) -> "Confident":  # noqa: ARG002
        """Itself."""
        return self


@dataclass(frozen=True)
class Custom:
    """A user's own: a function of outputs and labels that is above zero where the attack has succeeded.

    The outputs are whatever the network gives, indexed by image first; labels too.
    """

    margin_fn: MarginFn
    name: str = "custom"

    def is_met(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Whether the function is above zero."""
        return self.margin_fn(outputs, labels) > 0

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The function itself."""
        return self.margin_fn(outputs, labels)

    def margin(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The function itself."""
        return self.margin_fn(outputs, labels)

    def take(self, rows: Tensor) -> "Custom":  # noqa: ARG002
        """Itself."""
        return self


UNTARGETED = Untargeted()


def best_other(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest logit of any class but the label: (N, K), (N,) -> (N,)."""
    return logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)


def best_other_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Which class that is, (N,) int64."""
    return first_best(logits.scatter(1, labels[:, None], -torch.inf))


def least_likely(logits: Tensor) -> Tensor:
    """The least probable class of each image, (N,) int64 (Kurakin et al. 2017, arXiv:1607.02533, eq. 4)."""
    return first_best(-logits)
