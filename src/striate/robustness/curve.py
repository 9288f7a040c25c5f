"""Robust accuracy against epsilon: the same attack at sizes from nothing to the largest change there is."""

import torch
from torch import Tensor

from striate.progress import Track, track_silently
from striate.robustness.attacked import Callee
from striate.robustness.norms import find_norm
from striate.robustness.suite import attack_chunks

_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
_NUM_STEPS = 20
MOST_IMAGES = 200


def accuracy_curve(
    network: Callee,
    images: Tensor,
    labels: Tensor,
    was_correct: Tensor,
    *,
    epsilon: float,
    norm: str,
    seed: int = 0,
    track: Track = track_silently,
) -> tuple[tuple[float, float], ...]:
    """Pairs of epsilon and accuracy under APGD of 20 steps, from 0 over the multiples of `epsilon` to the largest size.

    Of images (N, C, H, W), labels (N,), at most 200. An image that a smaller change fools is not attacked again: it
    stays fooled, so the curve never rises.
    """
    images, labels, stands = images[:MOST_IMAGES], labels[:MOST_IMAGES], was_correct[:MOST_IMAGES].clone()
    largest = find_norm(norm).size(torch.ones_like(images[:1])).item()
    sizes = [size for size in (factor * epsilon for factor in _FACTORS) if size < largest]
    points = [(0.0, stands.float().mean().item())]
    for size in [*sizes, largest]:
        rows = stands.nonzero()[:, 0]
        if len(rows):
            options = {"epsilon": size, "norm": norm, "num_steps": _NUM_STEPS, "seed": seed}
            result = attack_chunks("apgd_ce", network, images[rows], labels[rows], options, track=track)
            stands[rows[result.is_adversarial]] = False
        points.append((size, stands.float().mean().item()))
    return tuple(points)
