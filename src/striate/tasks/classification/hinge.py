"""Losses and penalties that torch lacks or averages differently. N images, K classes.

Torch's own do the rest: F.cross_entropy (softmax and its logarithm at once, without overflow at any input) and
F.mse_loss.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def multiclass_hinge_loss(logits: Tensor, labels: Tensor, *, margin: float = 1.0, power: Literal[1, 2] = 1) -> Tensor:
    """The mean over images of sum over wrong classes j of max(0, s_j - s_label + margin) ** power, a scalar.

    Scores (N, K), labels (N,). This is the multiclass support vector machine of Weston & Watkins (1999); `power` 2 is
    the squared hinge. F.multi_margin_loss divides it by K.
    """
    return F.multi_margin_loss(logits, labels, p=power, margin=margin) * logits.shape[1]


def elastic_net_penalty(network: nn.Module, *, l1: float = 0.0, l2: float = 0.0) -> Tensor:
    """l1 * sum |w| + l2 / 2 * sum w ** 2 over the weights, a scalar to be added to the loss.

    Biases, and norms' scales, are left out: weights are the parameters of two axes or more, and those that require no
    gradient do not count. `l2` is torch's `weight_decay`: their gradients are the same under plain SGD.
    """
    penalty = next((param.new_zeros(()) for param in network.parameters()), torch.zeros(()))
    for param in network.parameters():
        if param.requires_grad and param.ndim > 1:
            penalty = penalty + l1 * param.abs().sum() + 0.5 * l2 * param.square().sum()
    return penalty
