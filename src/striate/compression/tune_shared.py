"""Shared values tuned without labels: they learn what the whole network answers (Hinton, Vinyals & Dean 2015,
arXiv:1503.02531).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from striate.compression.constraints import constrained_copy, take_weights
from striate.compression.images import CompressionImages
from striate.data.sampling import read_batch
from striate.networks.restore import evaluating
from striate.progress import Track, track_silently
from striate.tasks.classification.logits import class_logits
from striate.tasks.model import Model

BATCH_SIZE, RATE, TEMPERATURE = 16, 2e-4, 2.0
"""The rate is Adam's first, which falls to 0 as a cosine."""


def tune_shared(
    model: Model, teacher: Model, images: CompressionImages, *, epochs: int, most: int, track: Track = track_silently
) -> None:
    """Train the shared values and biases of a model, in place, on what `teacher` answers to up to `most` of the images
    that there are.

    Zeros stay zeros and shared weights equal; norms and dropout are in evaluation mode. No label is looked at, so
    accuracy on these images is no more flattered than by what the teacher knows. The order is drawn with seed 0.
    """
    chosen = images.test[np.linspace(0, len(images.test) - 1, min(most, len(images.test))).astype(int)]
    order = np.random.default_rng(0)
    batches = [part for _ in range(epochs) for part in _in_batches(order.permutation(chosen))]
    trainee = constrained_copy(model.network)
    params = [param for param in trainee.parameters() if param.requires_grad]
    optimizer = torch.optim.Adam(params, lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
    soft: dict[int, Tensor] = {}
    with evaluating(trainee), evaluating(teacher.network):
        for indices in track(batches, "tuning shared values", len(batches)):
            pixels = read_batch(images.packed, indices, model.preprocessing.crop_size).to(model.device)
            given = model.preprocessing.normalize(pixels)
            _teach(soft, teacher, given, indices)
            target = torch.stack([soft[index] for index in indices.tolist()])
            answered = (class_logits(trainee(given)).float() / TEMPERATURE).log_softmax(1)
            loss = TEMPERATURE**2 * F.kl_div(answered, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    take_weights(model.network, trainee)


@torch.no_grad()
def _teach(soft: dict[int, Tensor], teacher: Model, given: Tensor, indices: np.ndarray) -> None:
    """The teacher's probabilities of these images, asked for once."""
    if all(index in soft for index in indices.tolist()):
        return
    probabilities = (class_logits(teacher.network(given)).float() / TEMPERATURE).softmax(1)
    soft.update(zip(indices.tolist(), probabilities, strict=True))


def _in_batches(indices: np.ndarray) -> Sequence[np.ndarray]:
    return [indices[start : start + BATCH_SIZE] for start in range(0, len(indices), BATCH_SIZE)]
