"""Outputs of a network with auxiliary heads in training mode. N images, K classes."""

from typing import NamedTuple

from torch import Tensor


class WithAuxiliary(NamedTuple):
    """Logits (N, K), and those of earlier heads, (N, K) each, whose losses count `weight` times as much.

    Networks with auxiliary heads answer so in training mode and with plain logits in evaluation mode.
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
    weight: float
