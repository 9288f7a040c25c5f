"""The probabilities that a classifier gives for images of a pack: what comparing, rejecting and sets of classes start
from.
"""

import numpy as np
import torch

from striate.data.packed import PreparedImages
from striate.errors import InputError, NonFiniteLoss
from striate.evaluation.evaluate_network import plain_batches
from striate.evaluation.test_time_augmentation import Averaged
from striate.networks.restore import evaluating
from striate.progress import Track, track_silently
from striate.tasks.classification.logits import class_logits
from striate.tasks.model import Model


def class_probabilities_of(
    model: Model,
    packed: PreparedImages,
    indices: np.ndarray,
    *,
    average: str | None = None,
    batch_size: int = 256,
    track: Track = track_silently,
) -> np.ndarray:
    """Probabilities (n, K) float32 of a classifier for the images `indices` (n,) of `packed`, all readable, at its
    temperature.

    `average` ("mirror" or "six") averages over views of each image. InputError for a model of another task,
    NonFiniteLoss where an answer is not finite. Memory is the probabilities and a batch.
    """
    logits = class_logits_of(model, packed, indices, average=average, batch_size=batch_size, track=track)
    return (logits / model.temperature).softmax(dim=1).numpy()


def class_logits_of(
    model: Model,
    packed: PreparedImages,
    indices: np.ndarray,
    *,
    average: str | None = None,
    batch_size: int = 256,
    track: Track = track_silently,
) -> torch.Tensor:
    """Logits (n, K) float32 on the CPU, not divided by the temperature; otherwise as `class_probabilities_of`."""
    if not model.task.has_probabilities:
        raise InputError(f"this needs probabilities of classes, and the model is for {model.task.name}")
    network = model.network if average is None else Averaged(model.network, average)
    batches = plain_batches(packed, indices, model.preprocessing, batch_size, model.device)
    with evaluating(network), torch.no_grad():
        parts = [
            class_logits(network(images)).float().cpu()
            for images in track(batches, "evaluating", -(-len(indices) // batch_size))
        ]
    logits = torch.cat(parts) if parts else torch.zeros(0, len(model.class_names))
    if not logits.isfinite().all():
        raise NonFiniteLoss("the network answers some images with NaN or infinity; its weights are damaged")
    return logits
