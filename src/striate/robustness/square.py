"""Square attack: random search over square patches, no gradients (Andriushchenko et al. 2020, arXiv:1912.00049)."""

import math

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.draws import branch, integers, signs
from striate.robustness.norms import LINF, Norm

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The queries after which the fraction of pixels in a patch is halved, for 10,000 queries (section 3.2)."""


def square(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    norm: str | Norm = LINF,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 5000,
    num_restarts: int = 1,
    first_fraction: float = 0.8,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """Random search: stripes at first, then squares of +-epsilon, kept where the margin grows (algorithms 1 and 2).

    images (N, C, H, W) in [0, 1], labels (N,). `num_steps` are the queries an image may cost. `first_fraction` of the
    pixels lie in the first squares: 0.8 as in AutoAttack; the paper's experiments take .05 for ImageNet and .3 for
    MNIST.
    """

    def attack(batch: Batch) -> Tensor:
        return _search(batch, num_steps, first_fraction)

    return attack_batches(
        "square", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion, num_steps=num_steps,
        num_restarts=num_restarts, seed=seed, batch_size=batch_size, needs_gradients=False,
    )  # fmt: skip


def side_of_square(query: int, first_fraction: float, height: int, width: int) -> int:
    """The side in pixels of the patch at this query: at least 1, at most the image."""
    fraction = first_fraction / 2 ** sum(query > halving for halving in _HALVINGS)
    return max(1, min(height, width, round(math.sqrt(fraction * height * width))))


def _search(batch: Batch, num_steps: int, first_fraction: float) -> Tensor:
    _, channels, height, width = batch.images.shape
    stripes = signs(batch.stream(0), (channels, 1, width))
    current = batch.project(batch.images + batch.epsilon * stripes.expand(-1, -1, height, -1))
    outputs = batch.network.outputs(current)
    results = current.clone()
    margins = batch.criterion.margin(outputs, batch.labels)
    going = ~batch.criterion.is_met(outputs, batch.labels)
    rows = going.nonzero()[:, 0]
    current, margins, part = current[going], margins[going], batch.take(going)
    for query in range(1, num_steps):
        if not len(rows):
            break
        side = side_of_square(query, first_fraction, height, width)
        proposed = _with_square(part, current, side, part.stream(query))
        outputs = part.network.outputs(proposed)
        is_met = part.criterion.is_met(outputs, part.labels)
        found = part.criterion.margin(outputs, part.labels)
        is_better = is_met | (found > margins)
        current = torch.where(is_better.view(-1, 1, 1, 1), proposed, current)
        margins = torch.where(is_better, found, margins)
        if is_met.any():
            results[rows[is_met]] = current[is_met]
            rows, current, margins, part = rows[~is_met], current[~is_met], margins[~is_met], part.take(~is_met)
    results[rows] = current
    return results


def _with_square(part: Batch, current: Tensor, side: int, keys: Tensor) -> Tensor:
    """Each image with one more square of +-2 epsilon, one sign a channel, projected (algorithm 2)."""
    _, channels, height, width = current.shape
    top = integers(branch(keys, 0), height - side + 1)
    left = integers(branch(keys, 1), width - side + 1)
    inside = _band(top, side, height)[:, None, :, None] & _band(left, side, width)[:, None, None, :]
    colours = signs(branch(keys, 2), (channels, 1, 1))
    return part.project(current + 2 * part.epsilon * colours * inside)


def _band(starts: Tensor, length: int, size: int) -> Tensor:
    """True at the places start <= i < start + length: (n, size)."""
    places = torch.arange(size, device=starts.device)
    return (places >= starts[:, None]) & (places < starts[:, None] + length)
