"""How good the network is on the validation images, while it is being trained."""

import dataclasses

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from striate.evaluation.evaluate_network import answer, figures_of
from striate.progress import Track, track_silently
from striate.tasks.classification.metrics import Answers
from striate.training.distributed.collectives import raise_on_all_ranks
from striate.training.distributed.fsdp import is_sharded
from striate.training.loader import Loader

SMALLEST_BATCH = 64


def validate(
    network: nn.Module, loader: Loader, fabric: Fabric, *, batch_size: int, track: Track = track_silently
) -> tuple[float, float]:
    """Accuracy and mean negative log-likelihood (nats) on the validation images, shared out over the processes.

    Raises NonFiniteLoss where the network answers NaN or infinity.
    """
    totals = torch.zeros(3, dtype=torch.float64)
    indices = loader.validation[fabric.global_rank :: fabric.world_size]
    own = len(indices)
    if is_sharded(network):  # every process must run it equally often, so some answer an image twice
        shares = -(-len(loader.validation) // fabric.world_size)
        indices = np.concatenate([indices, loader.validation[:1].repeat(shares - own)])
    with raise_on_all_ranks(fabric):
        if len(indices):
            batch_size = max(batch_size, SMALLEST_BATCH)
            num_batches = -(-len(indices) // batch_size)
            batches = track(loader.validation_batches(indices, batch_size, fabric.device), "evaluating", num_batches)
            answers = answer(
                network,
                batches,
                loader.labels[indices],
                autocast_dtype=autocast_dtype(fabric),
                use_inference_mode=not is_sharded(network),  # it keeps buffers for whole weights
            )
            totals = _totals(first_of(answers, own), indices[:own], loader) if own else totals
    if fabric.world_size > 1:
        totals = fabric.all_reduce(totals.to(fabric.device), reduce_op="sum")  # type: ignore[assignment]
    num_images, accuracy, loss = totals.tolist()
    return accuracy / num_images, loss / num_images


def first_of(answers: Answers, number: int) -> Answers:
    """The first so many answers."""
    return Answers(*(getattr(answers, field.name)[:number] for field in dataclasses.fields(answers)))


def _totals(answers: Answers, indices: np.ndarray, loader: Loader) -> Tensor:
    """How many images, how many of them right, and the sum of their losses: (3,) float64."""
    found = figures_of(answers, indices, loader.class_names)
    means = torch.tensor([1.0, found.top1_accuracy, found.negative_log_likelihood], dtype=torch.float64)
    return means * found.num_images


def autocast_dtype(fabric: Fabric) -> torch.dtype | None:
    """In what the network computes, where that is not what its weights are."""
    precision = getattr(fabric.strategy.precision, "precision", "32-true")
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
