"""One-pixel attack: differential evolution over places and colours of pixels (Su, Vargas & Sakurai 2019,
arXiv:1710.08864).
"""

import torch
from torch import Tensor

from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.draws import branch, integers, normal, uniform
from striate.robustness.norms import L0_NORM, Norm

_SCALE = 0.5
_CHUNK = 512


def one_pixel(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = 1,
    norm: str | Norm = L0_NORM,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 75,
    population: int = 100,
    seed: int = 0,
    batch_size: int | None = None,
) -> Adversarials:
    """Change `epsilon` pixels to any colour (section 3.2, eq. 3): x_i <- x_r1 + 0.5 (x_r2 - x_r3), kept where no worse.

    images (N, C, H, W) in [0, 1], labels (N,). `num_steps` generations of `population` candidates, each one query. The
    paper takes 400 candidates and up to 100 generations. Fitness is the criterion's margin.
    """

    def attack(batch: Batch) -> Tensor:
        return torch.stack([_evolve(batch.take(row), num_steps, population) for row in _single_rows(batch)])

    return attack_batches(
        "one_pixel", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, seed=seed, batch_size=batch_size, needs_gradients=False,
    )  # fmt: skip


def _single_rows(batch: Batch) -> list[Tensor]:
    return list(torch.arange(len(batch), device=batch.images.device).split(1))


def _evolve(one: Batch, num_steps: int, population: int) -> Tensor:
    """The best image (C, H, W) of one image's evolution."""
    channels = one.images.shape[1]
    num_pixels, genes = max(1, int(one.epsilon)), 2 + channels
    shape = (population, num_pixels, genes)
    places = uniform(one.stream(0), (population, num_pixels, 2))
    colours = (0.5 + 0.5 * normal(one.stream(1), (population, num_pixels, channels))).clamp(0, 1)
    parents = torch.cat([places, colours], dim=3)[0].view(shape)
    images, scores, is_met = _score(one, parents)
    for step in range(num_steps):
        if is_met.any():
            break
        picks = integers(branch(one.keys, 10 + step), population, (3, population))[0]
        children = (parents[picks[0]] + _SCALE * (parents[picks[1]] - parents[picks[2]])).clamp(0, 1 - 1e-6)
        child_images, child_scores, child_met = _score(one, children)
        is_better = child_scores >= scores
        wide = is_better.view(-1, 1, 1)
        parents, scores = torch.where(wide, children, parents), torch.where(is_better, child_scores, scores)
        images = torch.where(wide[..., None], child_images, images)
        is_met = is_met | (child_met & is_better)
    best = torch.where(is_met, torch.inf, scores).argmax()
    return images[best]


def _score(one: Batch, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images (P, C, H, W), margins (P,) and whether the criterion is met (P,), for candidates (P, pixels, 2 + C)."""
    count = len(candidates)
    images = one.images.expand(count, -1, -1, -1).clone()
    height, width = images.shape[2:]
    rows = torch.arange(count, device=images.device)
    for pixel in candidates.unbind(dim=1):
        top, left = (pixel[:, 0] * height).long(), (pixel[:, 1] * width).long()
        images[rows, :, top.clamp(max=height - 1), left.clamp(max=width - 1)] = pixel[:, 2:]
    everything = one.take(torch.zeros(count, dtype=torch.int64, device=images.device))
    outputs = torch.cat([one.network.outputs(part) for part in images.split(_CHUNK)])
    labels = everything.labels
    margins = everything.criterion.margin(outputs, labels)
    return images, margins, everything.criterion.is_met(outputs, labels)
