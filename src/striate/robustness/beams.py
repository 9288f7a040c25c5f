"""Cross-sections of beams as images, whose true stiffness for their material is arithmetic: a problem to try
model-based optimisation on.

A blueprint is (1, H, W) in [0, 1], how much of each cell is material. The second moment of area about the horizontal
axis through the centroid, I = sum of a (y - y0)^2 + a / 12 for cells of side 1, is divided by the area: stiffness for
each unit of material.
"""

import torch
from torch import Tensor

from striate.errors import InputError


def stiffness(blueprints: Tensor) -> Tensor:
    """Second moment of area over area, scaled by the height squared, of blueprints (N, 1, H, W): (N,), about 1/12 for a
    full square.

    InputError where a blueprint has no material.
    """
    rows = blueprints.sum(dim=(1, 3))  # (N, H), material in each row
    area = rows.sum(dim=1)
    if bool((area <= 0).any()):
        raise InputError("a blueprint without any material has no stiffness; fill at least one cell")
    height = blueprints.shape[2]
    places = torch.arange(height, dtype=blueprints.dtype, device=blueprints.device) + 0.5
    centre = (rows * places).sum(dim=1) / area
    moment = (rows * (places - centre[:, None]).square()).sum(dim=1) + area / 12
    return moment / (area * height**2)


def random_beams(count: int, *, size: int = 32, seed: int = 0) -> Tensor:
    """Blueprints of I-beams, boxes and slabs of random proportions, (count, 1, size, size), 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(count, 5, generator=generator)
    beams = torch.zeros(count, 1, size, size)
    for beam, (depth, width, flange, web, kind) in zip(beams[:, 0], draws.tolist(), strict=True):
        half_depth = max(3, round(size / 2 * (0.3 + 0.5 * depth)))
        half_width = max(3, round(size / 2 * (0.2 + 0.7 * width)))
        thick, stem = 1 + round(flange * half_depth * 0.6), 1 + round(web * half_width * 0.8)
        middle = size // 2
        top, bottom, left, right = middle - half_depth, middle + half_depth, middle - half_width, middle + half_width
        beam[top : top + thick, left:right] = 1
        beam[bottom - thick : bottom, left:right] = 1
        if kind < 0.6:
            beam[top:bottom, middle - stem : middle + stem] = 1
        else:
            beam[top:bottom, left : left + stem] = 1
            beam[top:bottom, right - stem : right] = 1
    return beams
