"""A moving average of a network's weights, which is often more accurate than the weights themselves (Polyak
averaging).
"""

import copy

import torch
from torch import nn


class MovingAverage:
    """A copy of a network, in evaluation mode, whose weights and buffers follow the network's slowly.

    After update t (from 1) the average keeps the share d = min(decay, (1 + t) / (10 + t)) of itself: a short run does
    not carry its first random weights to its end. Whole numbers, such as batch norm's counters, are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._pairs = _tensors(self.network)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follow `network` after update `step` (from 1)."""
        share = min(self.decay, (1 + step) / (10 + step))
        averaged, current = self._pairs, _tensors(network)
        torch._foreach_lerp_(averaged[0], current[0], 1 - share)
        for ours, theirs in zip(averaged[1], current[1], strict=True):
            ours.copy_(theirs)


def _tensors(network: nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Parameters and buffers: floating-point ones, others."""
    tensors = [*network.parameters(), *network.buffers()]
    return [t for t in tensors if t.is_floating_point()], [t for t in tensors if not t.is_floating_point()]
