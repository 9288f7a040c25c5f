"""How good the network is on the validation images, while it is being trained."""

import torch
from lightning_fabric import Fabric
from torch import nn

from striate.evaluation.evaluate import answer, figures_of
from striate.progress import Track, track_silently
from striate.training.feed import Feed

SMALLEST_BATCH = 64


def validate(
    network: nn.Module, feed: Feed, fabric: Fabric, *, batch_size: int, track: Track = track_silently
) -> tuple[float, float]:
    """Accuracy and mean negative log-likelihood (nats) on the validation images, shared out over the processes.

    Raises NonFiniteLoss where the network answers NaN or infinity.
    """
    if fabric.world_size > 1:
        for buffer in network.buffers():  # running statistics: every process has its own idea of them
            torch.distributed.broadcast(buffer, src=0)
    totals = torch.zeros(3, dtype=torch.float64)
    indices = feed.validation[fabric.global_rank :: fabric.world_size]
    if len(indices):
        batch_size = max(batch_size, SMALLEST_BATCH)
        batches = track(
            feed.validation_batches(indices, batch_size, fabric.device), "evaluating", -(-len(indices) // batch_size)
        )
        answers = answer(network, batches, feed.labels[indices], autocast_dtype=autocast_dtype(fabric))
        found = figures_of(answers, indices, feed.class_names)
        means = torch.tensor([1.0, found.top1_accuracy, found.negative_log_likelihood], dtype=torch.float64)
        totals = means * found.num_images
    if fabric.world_size > 1:
        totals = fabric.all_reduce(totals.to(fabric.device), reduce_op="sum")  # type: ignore[assignment]
    num_images, accuracy, loss = totals.tolist()
    return accuracy / num_images, loss / num_images


def autocast_dtype(fabric: Fabric) -> torch.dtype | None:
    """In what the network computes, where that is not what its weights are."""
    precision = getattr(fabric.strategy.precision, "precision", "32-true")
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
