"""Nearest neighbours with gradients: every known image votes, the nearer the more. N images, M known ones, D values, K
classes.

Papernot, McDaniel & Goodfellow 2016 (arXiv:1605.07277, section 4.1) attack nearest neighbours through such a smooth
form of them.
"""

import torch
from torch import Tensor, nn

from striate.errors import InputError


class SmoothNeighbors(nn.Module):
    """Votes exp(-d^2 / (2 h^2)) of known images at distance d: images (N, C, H, W) in [0, 1] -> logarithms of the votes
    (N, K).

    known (M, D), labels (M,). h is the root mean square distance of a known image from the nearest other one, times
    `smoothness`. InputError for a class without a known image.
    """

    def __init__(self, known: Tensor, labels: Tensor, num_classes: int, *, smoothness: float = 0.3) -> None:
        super().__init__()
        counts = torch.bincount(labels, minlength=num_classes)
        if int(counts.min()) == 0:
            raise InputError(
                f"class {int(counts.argmin())} has no image to learn from; every class needs one in the training part"
            )
        order = labels.argsort(stable=True)
        self.counts = counts.tolist()
        self.register_buffer("known", known[order], persistent=False)
        few = known[:: max(1, len(known) // 500)]
        nearest = torch.cdist(few, known).topk(min(2, len(known)), largest=False).values[:, -1]
        self.scale = 2 * smoothness**2 * max(float(nearest.square().mean()), 1e-12)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        points, known = images.flatten(1), self.get_buffer("known")
        squares = points.square().sum(dim=1, keepdim=True) - 2 * points @ known.T + known.square().sum(dim=1)
        votes = (-squares / self.scale).split(self.counts, dim=1)
        return torch.stack([own.logsumexp(dim=1) for own in votes], dim=1)
