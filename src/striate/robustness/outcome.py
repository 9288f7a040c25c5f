"""What attacks on the images of a source found: accuracies with intervals, each attack and the worst case of all."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.tasks.intervals import wilson_interval


@dataclass(frozen=True)
class AttackFigures:
    """One attack of several: `num_attacked` images were left for it; accuracies are of all images after it and those
    before it.
    """

    method: str
    robust_accuracy: float
    num_attacked: int
    num_steps: int
    num_restarts: int
    num_queries: int
    max_change: float
    mean_change: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; `mean_change` and `max_change` are of the images that this attack fooled."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class AttackOutcome:
    """N images of a source, attacked. `images` (N, C, H, W) in [0, 1] are the changed ones, `originals` those that
    came.

    `was_correct` and `is_robust` (N,) bool; `before` and `after` (N,) are the classes named.
    """

    source: str
    split: str
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: Tensor
    norm: str
    epsilon: float
    target: str | None
    originals: Tensor
    images: Tensor
    was_correct: Tensor
    is_robust: Tensor
    before: Tensor
    after: Tensor
    sizes: Tensor
    attacks: tuple[AttackFigures, ...]
    warnings: tuple[str, ...] = ()
    curve: tuple[tuple[float, float], ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def clean_accuracy(self) -> float:
        """The fraction of images named correctly as they came."""
        return self.was_correct.float().mean().item()

    @property
    def robust_accuracy(self) -> float:
        """The fraction of images that no attack of these changed the answer of."""
        return int(self.is_robust.sum()) / len(self)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `striate attack --json` prints them."""
        num_robust = int(self.is_robust.sum())
        changed = ~self.is_robust & self.was_correct
        sizes = self.sizes[changed]
        seconds = sum(each.seconds for each in self.attacks)
        return {
            "source": self.source,
            "split": self.split,
            "num_images": len(self),
            "clean_accuracy": self.clean_accuracy,
            "clean_interval": list(wilson_interval(int(self.was_correct.sum()), len(self))),
            "robust_accuracy": self.robust_accuracy,
            "robust_interval": list(wilson_interval(num_robust, len(self))),
            "norm": self.norm,
            "epsilon": self.epsilon,
            "target": self.target,
            "max_change": sizes.max().item() if len(sizes) else 0.0,
            "mean_change": sizes.mean().item() if len(sizes) else 0.0,
            "seconds": seconds,
            "images_per_s": len(self) / seconds if seconds else None,
            "attacks": [each.to_json() for each in self.attacks],
            "curve": [{"epsilon": epsilon, "robust_accuracy": accuracy} for epsilon, accuracy in self.curve],
            "warnings": list(self.warnings),
            **self.extra,
        }


def figures_of(result: Adversarials, is_robust: Tensor) -> AttackFigures:
    """The figures of one attack, `is_robust` (N,) being what is left of all images after it."""
    sizes = result.sizes[result.changed]
    return AttackFigures(
        method=result.method,
        robust_accuracy=is_robust.float().mean().item(),
        num_attacked=len(result),
        num_steps=result.num_steps,
        num_restarts=result.num_restarts,
        num_queries=result.num_queries,
        max_change=sizes.max().item() if len(sizes) else 0.0,
        mean_change=sizes.mean().item() if len(sizes) else 0.0,
        seconds=result.elapsed_s,
    )


def classes_of(outputs: Tensor) -> Tensor:
    """The class named by each row of logits, (N,) on the CPU."""
    from striate.tasks.classification.logits import first_best

    return first_best(outputs).cpu() if outputs.ndim == 2 else torch.zeros(len(outputs), dtype=torch.int64)
