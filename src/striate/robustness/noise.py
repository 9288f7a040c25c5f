"""Random noise of the same size as an attack: what a network should be measured against first. It needs no
gradients.
"""

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.norms import LINF, Norm


def noise(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 1,
    stop_early: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """`num_steps` draws from the ball around each image, as a random start of `norm` draws them; one success is
    enough.
    """

    def attack(batch: Batch) -> Tensor:
        best = batch.images.clone()
        is_open = torch.ones(len(batch), dtype=torch.bool, device=best.device)
        for number in range(num_steps):
            rows = is_open.nonzero()[:, 0]
            if not len(rows):
                break
            part = batch.take(rows)
            best[rows] = part.norm.start(part.images, part.epsilon, part.stream(number))
            if number + 1 < num_steps:
                is_open[rows] = ~part.is_met(best[rows])
        return best

    return attack_batches(
        "noise", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion, num_steps=num_steps,
        stop_early=stop_early, seed=seed, batch_size=batch_size, needs_gradients=False,
    )  # fmt: skip
