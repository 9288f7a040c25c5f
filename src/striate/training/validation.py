"""Validation between epochs."""

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from striate.evaluation.evaluate_network import accumulate
from striate.progress import Track, track_silently
from striate.tasks.task import Figures
from striate.training.batches import BatchSource
from striate.training.distributed.collectives import gather_arrays, raise_on_all_ranks
from striate.training.distributed.fsdp import is_sharded

SMALLEST_BATCH = 64


def validate(
    network: nn.Module, loader: BatchSource, fabric: Fabric, *, batch_size: int, track: Track = track_silently
) -> Figures:
    """The task's figures on the validation images, shared out over the processes; every process gets those of all.

    Raises NonFiniteLoss where the network answers NaN or infinity.
    """
    accumulator = loader.task.accumulator()
    parts = [loader.validation[rank :: fabric.world_size] for rank in range(fabric.world_size)]
    indices = parts[fabric.global_rank]
    if is_sharded(network):  # every process must run it equally often, so some answer an image twice
        indices = np.concatenate([indices, loader.validation[:1].repeat(len(parts[0]) - len(indices))])
    with raise_on_all_ranks(fabric):
        if len(indices):
            batch_size = min(max(batch_size, SMALLEST_BATCH), loader.task.most_at_once)
            num_batches = -(-len(indices) // batch_size)
            batches = track(loader.validation_batches(indices, batch_size, fabric.device), "evaluating", num_batches)
            accumulate(
                accumulator,
                network,
                batches,
                indices,
                loader.plain_targets,
                autocast_dtype=autocast_dtype(fabric),
                use_inference_mode=not is_sharded(network),  # it keeps buffers for whole weights
            )
    if fabric.world_size > 1:
        gathered = gather_arrays(fabric, accumulator.arrays() if len(indices) else {})
        accumulator = accumulator.merged([each for each in gathered if each], _in_order(parts, is_sharded(network)))
    with raise_on_all_ranks(fabric):
        return accumulator.result(loader.validation)


def _in_order(parts: list[np.ndarray], is_padded: bool) -> np.ndarray:
    """Where each validation image lies among those of all processes, one process after another: (N,) int64."""
    world_size, lengths = len(parts), [len(part) for part in parts]
    starts = np.cumsum([0, *([lengths[0]] * world_size if is_padded else lengths)])
    places = np.arange(sum(lengths))
    return starts[places % world_size] + places // world_size


def autocast_dtype(fabric: Fabric) -> torch.dtype | None:
    """In what the network computes, where that is not what its weights are."""
    precision = getattr(fabric.strategy.precision, "precision", "32-true")
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
