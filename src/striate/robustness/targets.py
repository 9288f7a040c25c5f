"""Attack towards one class after the other, the most probable first; images leave at their first success. N images."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from striate.robustness.attack_batches import Batch
from striate.robustness.criteria import Targeted
from striate.robustness.losses import Towards, logit_difference


def each_target(batch: Batch, num_targets: int, attack: Callable[[Batch, int], Tensor]) -> Tensor:
    """Run `attack(part, rank)` towards each of the `num_targets` most probable classes but the label: (n, C, H, W).

    Each part has a `Towards` criterion. With a `Targeted` criterion its own targets are the only ones.
    """
    if isinstance(batch.criterion, Targeted):
        ranked = batch.criterion.targets[:, None]  # (n, 1)
    else:
        logits = batch.network.outputs(batch.images)
        others = logits.scatter(1, batch.labels[:, None], -torch.inf)
        ranked = others.topk(min(num_targets, logits.shape[1] - 1), dim=1).indices  # (n, targets)
    results = batch.images.clone()
    rows = torch.arange(len(batch), device=results.device)
    for rank in range(ranked.shape[1]):
        part = batch.take(rows)
        criterion = Towards(part.criterion, ranked[rows, rank], logit_difference)
        changed = attack(replace(part, criterion=criterion), rank)
        results[rows] = changed
        if rank + 1 == ranked.shape[1]:
            break
        inside = part.project(changed)
        rows = rows[~part.is_met(inside)]
        if not len(rows):
            break
    return results
