"""Sums over images of what all K probabilities are worth, not only the largest: Brier score and class-wise calibration.

Some sums a class and bin, whatever the number of images; they stay on the device of the outputs. N images, K classes.
"""

import torch
from torch import Tensor

from striate.tasks.classification.metrics import NUM_BINS

MOST_CLASSES = 1_000
"""Above, sums a class and bin would cost more time than they tell."""

_DIGITS = 8


class ProbabilityTally:
    """Gathers logits (n, K) and labels (n,) batch by batch."""

    def __init__(self) -> None:
        self.num_images = 0
        self.square_error: Tensor | None = None
        self.bins: Tensor | None = None

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in a batch; nothing is waited for."""
        num_classes = logits.shape[1]
        if num_classes > MOST_CLASSES:
            return
        probabilities = logits.float().softmax(dim=1)
        hits = torch.zeros_like(probabilities).scatter_(1, labels[:, None], 1.0)
        exact = torch.float32 if logits.device.type == "mps" else torch.float64  # so that batches hardly matter
        error = (probabilities - hits).square().sum(dtype=exact)
        places = (probabilities * NUM_BINS).ceil().long().sub_(1).clamp_(0, NUM_BINS - 1)  # edges in the lower bin
        places += NUM_BINS * torch.arange(num_classes, device=logits.device)
        values = torch.stack([torch.ones_like(probabilities), probabilities, hits]).flatten(1)  # (3, n * K)
        sums = torch.zeros(3, num_classes * NUM_BINS, device=logits.device, dtype=exact)
        sums.index_add_(1, places.flatten(), values.to(exact))
        self.num_images += len(logits)
        self.square_error = error if self.square_error is None else self.square_error + error
        self.bins = sums if self.bins is None else self.bins + sums

    def brier_score(self) -> float | None:
        """The mean squared distance between probabilities and the right answer, in [0, 2] (Brier 1950); None before any
        batch.
        """
        return None if self.square_error is None else round(float(self.square_error) / self.num_images, _DIGITS)

    def classwise_error(self) -> float | None:
        """The mean over classes of the calibration error of each class's probability in 15 bins (arXiv:1910.12656,
        section 2).
        """
        if self.bins is None:
            return None
        _, confidence, hits = self.bins.double().cpu().view(3, -1, NUM_BINS)
        gaps = (confidence - hits).abs().sum(dim=1) / self.num_images  # (K,)
        return round(float(gaps.mean()), _DIGITS)
