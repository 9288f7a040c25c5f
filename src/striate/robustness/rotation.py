"""Rotations and shifts, which no norm calls small and every eye does (Engstrom et al. 2019, arXiv:1712.02779)."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from striate.errors import InputError
from striate.robustness.adversarials import Adversarials
from striate.robustness.attack_batches import Batch, attack_batches
from striate.robustness.attacked import Callee
from striate.robustness.criteria import UNTARGETED, Criterion
from striate.robustness.draws import branch, image_keys
from striate.robustness.norms import DEGREES, Norm

_SHIFTS = (0.0, -0.05, 0.05, -0.1, 0.1)
"""Fractions of the image's side; the largest is about the paper's 3 pixels of 32."""


def rotation(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float = 30.0,
    norm: str | Norm = DEGREES,
    criterion: Criterion = UNTARGETED,
    num_steps: int = 31,
    batch_size: int | None = None,
) -> Adversarials:
    """The smallest turn of a grid that succeeds: `num_steps` angles up to `epsilon` degrees, each with 25 shifts
    (section 3).

    images (N, C, H, W) in [0, 1], labels (N,). Pixels from outside are black, others interpolated. `sizes` are degrees;
    a shift alone counts as none.
    """
    if not 0 <= epsilon <= 180:
        raise InputError(f"rotation takes epsilon in degrees, 0 to 180, but it is {epsilon:g}")
    angles = sorted(torch.linspace(-epsilon, epsilon, num_steps).tolist(), key=abs)
    turns: dict[int, float] = {}

    def attack(batch: Batch) -> Tensor:
        results = batch.images.clone()
        rows = torch.arange(len(batch), device=results.device)
        for angle in angles:
            for down in _SHIFTS:
                for right in _SHIFTS:
                    if not len(rows):
                        return results
                    part = batch.take(rows)
                    moved = turned(part.images, angle, down, right)
                    is_met = part.is_met(moved)
                    results[rows[is_met]] = moved[is_met]
                    turns.update(dict.fromkeys(part.keys[is_met].tolist(), abs(angle)))
                    rows = rows[~is_met]
        return results

    result = attack_batches(
        "rotation", attack, network, images, labels, epsilon=epsilon, norm=norm, criterion=criterion,
        num_steps=num_steps, batch_size=batch_size, needs_gradients=False,
    )  # fmt: skip
    keys = branch(image_keys(images, 0), 0).tolist()
    return replace(result, sizes=torch.tensor([turns.get(key, 0.0) for key in keys], device=images.device))


def turned(images: Tensor, degrees: float, down: float, right: float) -> Tensor:
    """Images (n, C, H, W) turned anticlockwise about their centre and moved by fractions of their side, black
    outside.
    """
    height, width = images.shape[2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = torch.tensor(
        [[cos, -sin * height / width, -2 * right], [sin * width / height, cos, -2 * down]], device=images.device
    )
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False).clamp(0, 1)
