"""A substitute for a model that can only be asked: trained on the target's answers alone. N images, K classes.

Papernot et al. 2017 (arXiv:1602.02697, section 4 and algorithm 1): answers to a few images; a network trained on them;
each image moved along the sign of the network's gradient of the class the target named (Jacobian-based augmentation);
asked about again, and so on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.networks.restore import keeping_randomness
from striate.progress import Log, log_nothing
from striate.robustness.attacked import Callee, attacking
from striate.robustness.clean import clean_outputs
from striate.tasks.classification.logits import class_logits, first_best

_BATCH = 64
_RATE = 2e-3


@dataclass(frozen=True, eq=False)
class Substitute:
    """A trained network from pixels in [0, 1] to logits, what it cost and how often it says what the target says."""

    network: nn.Module
    num_queries: int
    num_rounds: int
    agreement: float


def train_substitute(
    target: Callee,
    build: Callable[[], nn.Module],
    images: Tensor,
    *,
    num_queries: int,
    step: float = 0.1,
    num_epochs: int = 10,
    held_out: Tensor | None = None,
    seed: int = 0,
    log: Log = log_nothing,
) -> Substitute:
    """Train `build()` from the classes that `target` names, never from its probabilities or any label.

    images (N, C, H, W) in [0, 1] to begin with; each round asks about as many again, moved by `step`, until
    `num_queries` are spent. `agreement` is measured on `held_out` images, which are asked about besides, or on the
    first ones.
    """
    if num_queries < len(images):
        images = images[: max(num_queries, 1)]
    if num_queries < 2:
        raise InputError(f"a substitute needs at least 2 queries but may make {num_queries}")
    labels = named_classes(target, images)
    spent, num_rounds = len(images), 0
    network = build()
    device = images.device
    network.to(device)
    while True:
        num_rounds += 1
        fit(network, images, labels, num_epochs=num_epochs, seed=seed + num_rounds)
        left = num_queries - spent
        if left <= 0:
            break
        moved = jacobian_step(network, images[-left:], labels[-left:], step if num_rounds % 2 else -step)
        answers = named_classes(target, moved)
        images, labels = torch.cat([images, moved]), torch.cat([labels, answers])
        spent += len(moved)
        log(f"round {num_rounds}: {spent:,} queries, {len(labels.unique())} classes seen")
    shown = images if held_out is None else held_out
    agreement = (named_classes(network, shown) == named_classes(target, shown)).float().mean().item()
    return Substitute(network, spent, num_rounds, agreement)


def named_classes(network: Callee, images: Tensor) -> Tensor:
    """The class named for each image, (N,)."""
    return first_best(clean_outputs(network, images))


def jacobian_step(network: nn.Module, images: Tensor, labels: Tensor, step: float) -> Tensor:
    """Each image moved by `step` along the sign of the gradient of its class's logit (algorithm 1, line 6), within [0,
    1].
    """
    parts = []
    with attacking(network) as attacked:
        for points, classes in zip(images.split(_BATCH), labels.split(_BATCH), strict=True):
            own = partial(_logits_of, classes)
            _, _, gradients = attacked.climb(points, own)
            parts.append((points + step * gradients.sign()).clamp(0, 1))
    return torch.cat(parts)


def _logits_of(classes: Tensor, outputs: Tensor) -> Tensor:
    return outputs.gather(1, classes[:, None])[:, 0]


def fit(network: nn.Module, images: Tensor, labels: Tensor, *, num_epochs: int, seed: int) -> None:
    """Adam on the cross-entropy, in place, in the order that the seed draws; the network ends in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    network.train()
    with keeping_randomness(network):
        torch.manual_seed(seed)
        for _ in range(num_epochs):
            for rows in torch.randperm(len(images), generator=generator).split(_BATCH):
                if len(rows) < 2:
                    continue  # batch norm needs two
                rows = rows.to(images.device)
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(class_logits(network(images[rows])), labels[rows]).backward()
                optimizer.step()
    network.eval()
