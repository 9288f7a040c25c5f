"""Which other classes a boundary can lie with, and how far it is by the dual norm. n images, M classes."""

import torch
from torch import Tensor

from striate.errors import InputError
from striate.robustness.attack_batches import Batch
from striate.robustness.criteria import Targeted
from striate.robustness.norms import Norm


def other_classes(part: Batch, outputs: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """The M most probable other classes (n, M) and the class they are compared with (n,), M being at most num_classes -
    1.

    For a `Targeted` criterion the target alone, compared with the most probable other class.
    """
    if outputs.ndim != 2:
        raise InputError(f"this attack needs logits (N, K) but the network outputs {tuple(outputs.shape)}")
    if isinstance(part.criterion, Targeted):
        classes = part.criterion.targets[:, None]
        return classes, outputs.scatter(1, classes, -torch.inf).argmax(dim=1)
    others = outputs.scatter(1, part.labels[:, None], -torch.inf)
    return others.topk(min(num_classes, outputs.shape[1]) - 1, dim=1).indices, part.labels


def dual_size(gradients: Tensor, norm: Norm) -> Tensor:
    """The dual norm over the last dimension: how much a change of size 1 can raise a function with these gradients."""
    if norm.name == "linf":
        return gradients.abs().sum(dim=-1)
    return gradients.norm(dim=-1) if norm.name == "l2" else gradients.abs().amax(dim=-1)
