"""Auto-PGD, a step size that follows progress (Croce & Hein 2020, arXiv:2003.01690, algorithm 1 and section 3).

Departures: images leave at their first success. For `l1` the steepest direction is that of `norms.L1`, and the ball
shrinks from three times its size in two thirds of the steps, as Croce & Hein 2021 (arXiv:2103.01208, section 3.3) do.
"""

from dataclasses import replace

from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.auto_pgd import auto_pgd
from striate.robustness.criteria import UNTARGETED, Criterion, Targeted
from striate.robustness.losses import Towards, WithLoss, dlr, logit_difference, targeted_dlr
from striate.robustness.norms import LINF, Norm
from striate.robustness.targets import each_target


def apgd_ce(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 100,
    num_restarts: int = 1,
    stop_early: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """APGD on the cross-entropy, or on the criterion's own loss. images (N, C, H, W) in [0, 1], labels (N,)."""

    def attack(batch: Batch) -> Tensor:
        return auto_pgd(batch, num_steps)

    return attack_batches(
        "apgd_ce", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, num_restarts=num_restarts, stop_early=stop_early, seed=seed, batch_size=batch_size,
    )  # fmt: skip


def apgd_dlr(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 100,
    num_restarts: int = 1,
    stop_early: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """APGD on the difference of logits ratio (eq. 6; eq. 7 towards targets), which no scale of the logits hides."""

    def attack(batch: Batch) -> Tensor:
        targets = batch.criterion.targets if isinstance(batch.criterion, Targeted) else None
        climbed = WithLoss(batch.criterion, dlr) if targets is None else Towards(batch.criterion, targets, targeted_dlr)
        return auto_pgd(replace(batch, criterion=climbed), num_steps)

    return attack_batches(
        "apgd_dlr", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, num_restarts=num_restarts, stop_early=stop_early, seed=seed, batch_size=batch_size,
    )  # fmt: skip


def apgd_targeted(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 100,
    num_targets: int = 9,
    num_restarts: int = 1,
    stop_early: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """APGD towards each of the `num_targets` most probable other classes in turn (eq. 7); any success counts.

    With a `Targeted` criterion towards its targets alone. A model of three classes or two is attacked by the plain
    difference of the logits, since eq. 7 needs four.
    """

    def attack(batch: Batch) -> Tensor:
        return each_target(batch, num_targets, lambda part, rank: auto_pgd(_towards(part), num_steps, stream=rank))

    def _towards(part: Batch) -> Batch:
        towards = part.criterion
        assert isinstance(towards, Towards)
        num_classes = part.network.outputs(part.images[:1]).shape[1]
        return replace(part, criterion=replace(towards, loss_fn=targeted_dlr if num_classes > 3 else logit_difference))

    return attack_batches(
        "apgd_targeted", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, num_restarts=num_restarts, stop_early=stop_early, seed=seed, batch_size=batch_size,
    )  # fmt: skip
