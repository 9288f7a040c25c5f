"""What an attack gives back: changed images, which of them fool the network, how large each change is. N images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from striate.robustness.norms import Norm
from striate.tasks.intervals import wilson_interval

_TOLERANCE = 1e-5
"""How far rounding in 32 bits may carry a change out of its ball, relative to the radius and for each unit of a pixel.
"""


@dataclass(frozen=True, eq=False)
class Adversarials:
    """The outcome of one attack on N images.

    `images` (N, C, H, W) in [0, 1]; `is_adversarial` (N,): the criterion is met within epsilon by `images`, as
    evaluated once more by the network in 32 bits; `was_met` (N,): it was met by the image as it came, which is then
    left unchanged. `sizes` (N,) of the changes by `norm`; `outputs_before` and `outputs` (N, K). `num_queries`: images
    the network was asked about in all. `epsilon` is infinite for an attack that looks for the smallest change whatever
    its size.
    """

    method: str
    norm: str
    epsilon: float
    images: Tensor
    is_adversarial: Tensor
    was_met: Tensor
    sizes: Tensor
    outputs_before: Tensor
    outputs: Tensor
    num_steps: int
    num_restarts: int
    num_queries: int
    elapsed_s: float

    def __len__(self) -> int:
        return len(self.images)

    @property
    def clean_accuracy(self) -> float:
        """The fraction of images that the criterion is not met by before the attack."""
        return 1 - self.was_met.float().mean().item()

    @property
    def robust_accuracy(self) -> float:
        """The fraction of images that the criterion is met by neither before nor after."""
        return self.num_robust / len(self)

    @property
    def num_robust(self) -> int:
        """How many images withstood."""
        return int((~self.is_adversarial).sum())

    @property
    def robust_interval(self) -> tuple[float, float]:
        """The 95 % interval of the robust accuracy."""
        return wilson_interval(self.num_robust, len(self))

    @property
    def changed(self) -> Tensor:
        """(N,) bool: fooled by the attack, and not before."""
        return self.is_adversarial & ~self.was_met

    @property
    def mean_size(self) -> float:
        """The mean change of the images that the attack fooled; 0 where there is none."""
        return self.sizes[self.changed].mean().item() if self.changed.any() else 0.0


def check_bounds(images: Tensor, origins: Tensor, norm: Norm, epsilon: float) -> None:
    """Raise AssertionError unless every image lies in [0, 1] and in the ball, up to rounding: an attack that does not
    is wrong.
    """
    if not len(images):
        return
    low, high = images.min().item(), images.max().item()
    assert low >= 0, f"an attack left [0, 1]: {low}"
    assert high <= 1, f"an attack left [0, 1]: {high}"
    largest = norm.size(images - origins).max().item()
    assert largest <= epsilon * (1 + _TOLERANCE) + rounding(norm, origins), (
        f"an attack left its ball: {largest} > {epsilon}"
    )


def rounding(norm: Norm, origins: Tensor) -> float:
    """What 32-bit rounding of values near 1 can add to the size of a change."""
    return float(norm.size(torch.full_like(origins[:1], 2**-23)).item())
