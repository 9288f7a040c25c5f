"""The frame of every attack: check what came, leave what is fooled already, go batch by batch, evaluate once more,
assert bounds.

N images, C channels, H x W pixels. An attack itself is a function from a `Batch` to changed images.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.robustness.adversarials import Adversarials, check_bounds
from striate.robustness.attacked import NO_GRADIENTS, Attacked, Callee, attacking
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.draws import branch, image_keys
from striate.robustness.norms import Norm, find_norm
from striate.robustness.request import check_request

_BATCH_VALUES = 400_000
_LARGEST_BATCH = 512


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images under attack: everything an attack may know. `keys` (n,) are their random streams.

    With `stop_early` an image is done at its first success; without it every image takes every step.
    """

    network: Attacked
    images: Tensor
    labels: Tensor
    criterion: Criterion
    epsilon: float
    norm: Norm
    keys: Tensor
    stop_early: bool = True

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Tensor) -> "Batch":
        """The same attack on the images `rows`, indices or booleans (n,)."""
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            criterion=self.criterion.take(rows),
            keys=self.keys[rows],
        )

    def stream(self, number: int) -> Tensor:
        """Keys of the random stream `number` of each image, (n,)."""
        return branch(self.keys, number)

    def is_met(self, images: Tensor) -> Tensor:
        """Whether the network meets the criterion on these, one for each image: (n,) bool."""
        return self.criterion.is_met(self.network.outputs(images), self.labels)

    def climb(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs, losses (n,) and gradients (n, C, H, W) of the criterion's loss."""
        return self.network.climb(images, lambda outputs: self.criterion.loss(outputs, self.labels))

    def project(self, images: Tensor) -> Tensor:
        """Into the ball and [0, 1]."""
        return self.norm.project(images, self.images, self.epsilon)


BatchAttack = Callable[[Batch], Tensor]
"""A batch -> changed images (n, C, H, W), one for each of its images; those that are no success count for nothing."""


def attack_batches(
    method: str,
    attack: BatchAttack,
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 1,
    num_restarts: int = 1,
    stop_early: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
    needs_gradients: bool = True,
) -> Adversarials:
    """Run `attack` on images (N, C, H, W) float in [0, 1] with labels (N, ...), on the device where they lie.

    Images that meet the criterion as they come are left alone where `stop_early`; those that withstand are attacked
    `num_restarts` times. Each success is evaluated once more by the network. Raises InputError, one line, for images,
    labels or an epsilon that do not fit; AssertionError where the attack breaks its own bounds.
    """
    norm = find_norm(norm)
    check_request(images, labels, epsilon, norm.name, num_steps, num_restarts, batch_size)
    if needs_gradients and not isinstance(network, nn.Module):
        raise InputError(NO_GRADIENTS)
    started_at = time.perf_counter()
    batch_size = default_batch_size(images) if batch_size is None else batch_size
    with attacking(network) as attacked:
        parts = [
            _attack_batch(
                attack,
                Batch(
                    attacked,
                    images[start : start + batch_size],
                    labels[start : start + batch_size],
                    criterion.take(torch.arange(start, min(start + batch_size, len(images)), device=images.device)),
                    epsilon,
                    norm,
                    image_keys(images[start : start + batch_size], seed),
                    stop_early,
                ),
                num_restarts,
            )
            for start in range(0, len(images), batch_size)
        ]
    changed, is_adversarial, was_met, before, after = (torch.cat(each) for each in zip(*parts, strict=True))
    return Adversarials(
        method=method,
        norm=norm.name,
        epsilon=epsilon,
        images=changed,
        is_adversarial=is_adversarial,
        was_met=was_met,
        sizes=norm.size(changed - images),
        outputs_before=before,
        outputs=after,
        num_steps=num_steps,
        num_restarts=num_restarts,
        num_queries=attacked.num_queries,
        elapsed_s=time.perf_counter() - started_at,
    )


def default_batch_size(images: Tensor) -> int:
    """So many images that activations stay within some hundred MB: 512 of CIFAR's size or smaller, 2 to 3 of 224 x
    224.
    """
    return max(8, min(_LARGEST_BATCH, _BATCH_VALUES // math.prod(images.shape[1:])))


def _attack_batch(attack: BatchAttack, batch: Batch, num_restarts: int) -> tuple[Tensor, ...]:
    """Changed images, is_adversarial, was_met, outputs before and after, of one batch."""
    before = batch.network.outputs(batch.images)
    _check_classes(batch, before)
    was_met = batch.criterion.is_met(before, batch.labels)
    results, after = batch.images.clone(), before.clone()
    is_met = was_met.clone()
    is_open = ~was_met if batch.stop_early else torch.ones_like(was_met)
    for restart in range(num_restarts):
        rows = is_open.nonzero()[:, 0]
        if not len(rows):
            break
        part = batch.take(rows)
        part = replace(part, keys=part.stream(restart))
        changed = part.project(attack(part).detach()) if math.isfinite(part.epsilon) else attack(part).detach()
        check_bounds(changed, part.images, part.norm, part.epsilon)
        outputs = part.network.outputs(changed)
        is_success = part.criterion.is_met(outputs, part.labels)
        keeps = is_success | ~is_met[rows] if batch.stop_early else torch.ones_like(is_success)
        results[rows[keeps]], after[rows[keeps]] = changed[keeps], outputs[keeps]
        is_met[rows] |= is_success
        is_open[rows[is_success]] = False
    return results, is_met, was_met, before, after


def _check_classes(batch: Batch, outputs: Tensor) -> None:
    """Labels and targets must be classes of the model, and there must be two."""
    if outputs.ndim != 2 or batch.labels.ndim != 1 or batch.labels.is_floating_point():
        return
    num_classes = outputs.shape[1]
    if num_classes < 2:
        raise InputError(
            "the model has a single class, so nothing can be taken for another; attack one with two or more"
        )
    targets = getattr(batch.criterion, "targets", batch.labels)
    for name, classes in (("labels", batch.labels), ("targets", targets)):
        if len(classes) and not (int(classes.min()) >= 0 and int(classes.max()) < num_classes):
            raise InputError(
                f"{name} must be classes of the model, 0 to {num_classes - 1}, "
                f"but run from {int(classes.min())} to {int(classes.max())}"
            )
    if targets is not batch.labels and bool((targets == batch.labels).any()):
        place = int((targets == batch.labels).nonzero()[0])
        raise InputError(
            f"the target of an image is its own label, {int(batch.labels[place])}; "
            "leave such images out or choose another target"
        )
