"""The exact attack on a linear model: epsilon times the sign of its weights. N images, K classes, D values.

Goodfellow, Shlens & Szegedy 2015 (arXiv:1412.6572, section 3): a change of epsilon * sign(w) moves w . x by epsilon *
|w|_1, and no change within the `linf` ball moves it further.
"""

import torch
from torch import Tensor

from striate.errors import InputError
from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Attacked, Callee, attacking
from striate.robustness.criteria import UNTARGETED, Criterion, Targeted
from striate.robustness.norms import LINF, Norm

_TOLERANCE = 1e-3


def sign_of_weights(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    batch_size: int | None = None,
) -> Adversarials:
    """Raise each other class over the label by the sign of the difference of their weights, and keep the class that
    gains most.

    images (N, C, H, W) in [0, 1], labels (N,). InputError unless the network is linear in its image.
    """

    def attack(batch: Batch) -> Tensor:
        weights, _ = linear_weights(batch.network, batch.images)
        classes = range(len(weights))
        best = batch.images.clone()
        gains = torch.full((len(batch),), -torch.inf, device=best.device)
        for chosen in classes:
            towards = (weights[chosen] - weights[batch.labels]).view_as(batch.images)
            moved = (batch.images + batch.epsilon * towards.sign()).clamp(0, 1)
            margins = batch.criterion.margin(batch.network.outputs(moved), batch.labels)
            if isinstance(batch.criterion, Targeted):
                margins = torch.where(batch.criterion.targets == chosen, margins, -torch.inf)
            is_better = margins > gains
            best = torch.where(is_better.view(-1, 1, 1, 1), moved, best)
            gains = torch.where(is_better, margins, gains)
        return best

    return attack_batches(
        "sign_of_weights", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        batch_size=batch_size,
    )  # fmt: skip


def linear_weights(network: Attacked, images: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (K, D) and biases (K,) of a network that is linear in images (n, C, H, W); InputError for any other."""
    blank = torch.zeros_like(images[:1])
    biases = network.outputs(blank)[0]
    copies = blank.expand(len(biases), *blank.shape[1:])
    rows = network.climb(copies, lambda outputs: outputs.diagonal())[2]
    weights = rows.flatten(1)  # (K, D)
    predicted, given = images.flatten(1) @ weights.T + biases, network.outputs(images)
    scale = given.abs().max().item() + 1
    if (predicted - given).abs().max().item() > _TOLERANCE * scale:
        raise InputError(
            "sign_of_weights needs a model that is linear in its pixels, and this one is not; take fgsm or pgd"
        )
    return weights, biases


def weights_of(network: Callee, like: Tensor) -> Tensor:
    """The weights of a linear network as images: one image (1, C, H, W) of the right shape -> (K, C, H, W)."""
    with attacking(network) as attacked:
        weights, _ = linear_weights(attacked, like)
    return weights.view(len(weights), *like.shape[1:])
