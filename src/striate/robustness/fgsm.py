"""Fast gradient sign method (Goodfellow, Shlens & Szegedy 2015, arXiv:1412.6572)."""

from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.norms import LINF, Norm


def fgsm(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    stop_early: bool = True,
    batch_size: int | None = None,
) -> Adversarials:
    """One step of size epsilon along the steepest direction: x + epsilon * sign(gradient of the loss), section 4.

    images (N, C, H, W) in [0, 1], labels (N,). For another norm than `linf` the step is the fast gradient method's
    (Miyato et al. 2017, arXiv:1605.07725, eq. 5).
    """
    return attack_batches(
        "fgsm", _step, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        stop_early=stop_early, batch_size=batch_size,
    )  # fmt: skip


def _step(batch: Batch) -> Tensor:
    _, _, gradients = batch.climb(batch.images)
    return (batch.images + batch.epsilon * batch.norm.steepest(gradients)).clamp(0, 1)
