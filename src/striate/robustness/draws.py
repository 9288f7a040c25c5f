"""Random numbers that belong to an image, not to its place in a batch. N images.

The stream of an image follows from the seed and its own pixels, so an attack draws the same numbers for it alone, in
any batch and in any order, on every device. The generator is SplitMix64 (Steele, Lea & Flood 2014,
doi:10.1145/2660193.2660195, section 5) run as a counter: number i of stream k is the mixed value of k + i * gamma.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_FIRST_FACTOR, _SECOND_FACTOR = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
_FRACTION_BITS = 24


def image_keys(images: Tensor, seed: int) -> Tensor:
    """One key for each of the images (N, ...) float32, from its pixels and the seed: (N,) int64."""
    bits = images.detach().reshape(len(images), -1).to(torch.float32).contiguous().view(torch.int32).to(torch.int64)
    factors = _mix(torch.arange(1, bits.shape[1] + 1, device=images.device) * _GAMMA) | 1
    return _mix((bits * factors).sum(dim=1) + torch.tensor(seed % 2**63, device=images.device) * _GAMMA)


def branch(keys: Tensor, number: int) -> Tensor:
    """Keys of other streams, one for each of `keys` (N,): the restart, the step or the purpose `number`."""
    return _mix(keys + _mix(torch.tensor(number + 1, device=keys.device) * _GAMMA))


def uniform(keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Numbers in [0, 1), one stream for each key: (N, *shape) float32."""
    count = math.prod(shape)
    places = torch.arange(1, count + 1, device=keys.device) * _GAMMA
    bits = _shift(_mix(keys[:, None] + places), 64 - _FRACTION_BITS)
    return (bits.to(torch.float32) / 2**_FRACTION_BITS).reshape(len(keys), *shape)


def normal(keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers, (N, *shape) float32, by Box and Muller's transform."""
    radius = (-2 * (1 - uniform(branch(keys, 0), shape)).log()).sqrt()
    return radius * (2 * math.pi * uniform(branch(keys, 1), shape)).cos()


def integers(keys: Tensor, high: int | Tensor, shape: Sequence[int] = ()) -> Tensor:
    """Whole numbers in [0, high), (N, *shape) int64; `high` is one number, or one for each key (N,)."""
    drawn = uniform(keys, shape)
    if isinstance(high, Tensor):
        high = high.reshape(-1, *[1] * len(shape))
        return torch.minimum((drawn * high).long(), high - 1)
    return (drawn * high).long().clamp_(max=high - 1)


def signs(keys: Tensor, shape: Sequence[int]) -> Tensor:
    """Plus or minus one with equal odds, (N, *shape) float32."""
    return torch.where(uniform(keys, shape) < 0.5, -1.0, 1.0)


def _mix(values: Tensor) -> Tensor:
    values = (values ^ _shift(values, 30)) * _FIRST_FACTOR
    values = (values ^ _shift(values, 27)) * _SECOND_FACTOR
    return values ^ _shift(values, 31)


def _shift(values: Tensor, count: int) -> Tensor:
    """Bits moved to the right, zeros moved in: torch's own shift repeats the sign."""
    return (values >> count) & ((1 << (64 - count)) - 1)
