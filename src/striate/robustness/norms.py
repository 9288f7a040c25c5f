"""Balls that a change may not leave: how large a change is, the nearest point inside, a random start, the steepest
direction.

N images (N, C, H, W) with values in [0, 1]; every size is one number an image, in the unit of a pixel whose whole range
is 1.
"""

from typing import Protocol

import torch
from torch import Tensor

from striate.errors import InputError
from striate.robustness.draws import branch, normal, signs, uniform

_TINY = 1e-12
_BISECTIONS = 40


class Norm(Protocol):
    """What an attack asks of a norm. `start` and `project` give images inside both the ball and [0, 1]."""

    @property
    def name(self) -> str: ...
    def size(self, changes: Tensor) -> Tensor:
        """Changes (N, ...) -> how large each is, (N,)."""
        ...

    def project(self, images: Tensor, origins: Tensor, epsilon: float) -> Tensor:
        """Images (N, ...) moved into the ball of radius `epsilon` around `origins` and into [0, 1]."""
        ...

    def start(self, origins: Tensor, epsilon: float, keys: Tensor) -> Tensor:
        """A random image in the ball around each of `origins`, and in [0, 1]."""
        ...

    def steepest(self, gradients: Tensor) -> Tensor:
        """The direction of size 1 along which a function with these gradients (N, ...) rises fastest."""
        ...


class LInf:
    """The largest change of any value of any pixel."""

    name = "linf"

    def size(self, changes: Tensor) -> Tensor:
        """The largest absolute value."""
        return changes.flatten(1).abs().amax(dim=1)

    def project(self, images: Tensor, origins: Tensor, epsilon: float) -> Tensor:
        """Each value by itself: the exact nearest image."""
        return (origins + (images - origins).clamp(-epsilon, epsilon)).clamp(0, 1)

    def start(self, origins: Tensor, epsilon: float, keys: Tensor) -> Tensor:
        """Uniform in the cube, then cut at [0, 1] (Madry et al. 2018, arXiv:1706.06083, section 2.1)."""
        return (origins + epsilon * (2 * uniform(keys, origins.shape[1:]) - 1)).clamp(0, 1)

    def steepest(self, gradients: Tensor) -> Tensor:
        """The sign of every value (Goodfellow et al. 2015, arXiv:1412.6572, section 4)."""
        return gradients.sign()


class L2:
    """Euclidean length of the change."""

    name = "l2"

    def size(self, changes: Tensor) -> Tensor:
        """The root of the sum of squares."""
        return changes.flatten(1).norm(dim=1)

    def project(self, images: Tensor, origins: Tensor, epsilon: float) -> Tensor:
        """Shorten the change, then cut at [0, 1], which shortens it further."""
        changes = images - origins
        factors = (epsilon / self.size(changes).clamp(min=_TINY)).clamp(max=1)
        return (origins + changes * _column(factors, changes)).clamp(0, 1)

    def start(self, origins: Tensor, epsilon: float, keys: Tensor) -> Tensor:
        """Uniform in the ball: a random direction, and a length whose D-th power is uniform."""
        directions = self.steepest(normal(keys, origins.shape[1:]))
        lengths = epsilon * uniform(branch(keys, 2), ()) ** (1 / origins[0].numel())
        return (origins + directions * _column(lengths, directions)).clamp(0, 1)

    def steepest(self, gradients: Tensor) -> Tensor:
        """The gradient at length 1; zero stays zero."""
        return gradients / _column(self.size(gradients).clamp(min=_TINY), gradients)


class L1:
    """The sum of absolute changes. `sparsity`: the fraction of values that one step along the steepest direction
    changes.

    The one largest gradient alone would be steepest, and needs as many steps as values; a step along the largest
    five percent is what Tramèr & Boneh 2019 take (arXiv:1904.13000, section 2, SLIDE).
    """

    name = "l1"

    def __init__(self, sparsity: float = 0.05) -> None:
        self.sparsity = sparsity

    def size(self, changes: Tensor) -> Tensor:
        """The sum of absolute values."""
        return changes.flatten(1).abs().sum(dim=1)

    def project(self, images: Tensor, origins: Tensor, epsilon: float) -> Tensor:
        """The nearest image in both the ball and [0, 1] (Croce & Hein 2021, arXiv:2103.01208, proposition 3.1).

        It shrinks every change by one threshold before the cut; the threshold is found by bisection.
        """
        changes = images - origins
        rooms = torch.where(changes > 0, 1 - origins, origins)
        magnitudes = changes.abs()
        low = torch.zeros(len(changes), device=changes.device, dtype=changes.dtype)
        high = magnitudes.flatten(1).amax(dim=1)
        is_inside = self.size(torch.minimum(magnitudes, rooms)) <= epsilon
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            left = torch.minimum((magnitudes - _column(middle, changes)).clamp(min=0), rooms)
            is_large = self.size(left) > epsilon
            low, high = torch.where(is_large, middle, low), torch.where(is_large, high, middle)
        threshold = torch.where(is_inside, torch.zeros_like(high), high)
        kept = torch.minimum((magnitudes - _column(threshold, changes)).clamp(min=0), rooms)
        return (origins + changes.sign() * kept).clamp(0, 1)

    def start(self, origins: Tensor, epsilon: float, keys: Tensor) -> Tensor:
        """Exponential magnitudes with random signs, scaled to a random size below epsilon, then into [0, 1]."""
        shape = origins.shape[1:]
        magnitudes = -(1 - uniform(branch(keys, 0), shape)).clamp(min=_TINY).log()
        changes = signs(branch(keys, 1), shape) * magnitudes
        lengths = epsilon * uniform(branch(keys, 2), ()) / self.size(changes).clamp(min=_TINY)
        return self.project(origins + changes * _column(lengths, changes), origins, epsilon)

    def steepest(self, gradients: Tensor) -> Tensor:
        """The signs of the largest gradients, all alike, at size 1."""
        flat = gradients.flatten(1)
        count = max(1, round(self.sparsity * flat.shape[1]))
        places = flat.abs().topk(count, dim=1).indices
        return torch.zeros_like(flat).scatter_(1, places, flat.gather(1, places).sign() / count).view_as(gradients)


class L0:
    """How many pixels differ, whatever their channels."""

    name = "l0"

    def size(self, changes: Tensor) -> Tensor:
        """The number of pixels."""
        return (changes != 0).any(dim=1).flatten(1).sum(dim=1).to(changes.dtype)

    def project(self, images: Tensor, origins: Tensor, epsilon: float) -> Tensor:
        """Keep the `epsilon` pixels that changed most."""
        count = int(min(epsilon, images.shape[2] * images.shape[3]))
        amounts = (images - origins).abs().sum(dim=1).flatten(1)
        kept = torch.zeros_like(amounts).scatter_(1, amounts.topk(count, dim=1).indices, 1.0)
        kept = kept.view(len(images), 1, *images.shape[2:])
        return torch.where(kept > 0, images, origins).clamp(0, 1)

    def start(self, origins: Tensor, epsilon: float, keys: Tensor) -> Tensor:
        """`epsilon` random pixels at random colours."""
        return self.project(uniform(keys, origins.shape[1:]), origins, epsilon)

    def steepest(self, gradients: Tensor) -> Tensor:
        """The sign of the gradients at the pixel where they are largest."""
        amounts = gradients.abs().sum(dim=1, keepdim=True)
        return torch.where(amounts == amounts.amax(dim=(2, 3), keepdim=True), gradients.sign(), 0.0)


class Degrees:
    """The measure of a turn, which the pixels do not show: sizes are left to the attack, only the range [0, 1]
    holds.
    """

    name = "degrees"

    def size(self, changes: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros(len(changes), device=changes.device)

    def project(self, images: Tensor, origins: Tensor, epsilon: float) -> Tensor:  # noqa: ARG002
        """Into [0, 1]."""
        return images.clamp(0, 1)

    def start(self, origins: Tensor, epsilon: float, keys: Tensor) -> Tensor:  # noqa: ARG002
        """The images themselves."""
        return origins

    def steepest(self, gradients: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(gradients)


L0_NORM, DEGREES = L0(), Degrees()
LINF, L2_NORM, L1_NORM = LInf(), L2(), L1()
NORMS: dict[str, Norm] = {norm.name: norm for norm in (LINF, L2_NORM, L1_NORM)}
"""The norms by name."""


def find_norm(norm: str | Norm) -> Norm:
    """The norm of this name, or the one given; InputError for a name that there is not."""
    if not isinstance(norm, str):
        return norm
    if norm in (L0_NORM.name, DEGREES.name):
        return L0_NORM if norm == L0_NORM.name else DEGREES
    if norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(NORMS)} but is {norm!r}")
    return NORMS[norm]


def _column(numbers: Tensor, like: Tensor) -> Tensor:
    """One number an image (N,), shaped to multiply `like` (N, ...)."""
    return numbers.view(-1, *[1] * (like.ndim - 1))
