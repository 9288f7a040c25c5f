"""Measure a network on images whose targets are known."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from striate.data.geometry import Geometry
from striate.data.packed import PreparedImages
from striate.data.parallel import prefetch
from striate.data.preprocessing import Preprocessing
from striate.data.sampling import read_batch
from striate.errors import InputError
from striate.networks.restore import evaluating
from striate.progress import Track, track_silently
from striate.tasks.pixel_model import network_inputs
from striate.tasks.task import Accumulator, Annotations, Figures, Targets, Task, each_tensor


def evaluate(
    network: nn.Module,
    preprocessing: Preprocessing,
    packed: PreparedImages,
    indices: np.ndarray,
    annotations: Annotations,
    task: Task,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    autocast_dtype: torch.dtype | None = None,
    track: Track = track_silently,
) -> Figures:
    """The task's figures of `network` on the images `indices` of `packed`, which `annotations` are of.

    Images that could not be read are left out: they are no mistake of the network's. The network must be on `device`;
    its mode and gradients come back as they were. Memory grows by a few numbers an image. InputError where nothing is
    left to evaluate or a label is not one of the classes; NonFiniteLoss where the network answers NaN or infinity.
    """
    indices = np.asarray(indices, dtype=np.int64)
    indices = indices[packed.usable[indices]]
    if len(indices) == 0:
        raise InputError("there is no readable image to evaluate on; name another split or source")
    labels = annotations.labels[indices]
    if labels.min() < 0 or labels.max() >= len(task.class_names):
        raise InputError(
            f"labels must lie in [0, {len(task.class_names) - 1}] but run from {labels.min()} to {labels.max()}"
        )
    batch_size = min(batch_size, task.most_at_once)
    batches = plain_batches(packed, indices, preprocessing, batch_size, torch.device(device))
    tracked = track(batches, "evaluating", -(-len(indices) // batch_size))
    accumulator = task.final_accumulator()
    targets = partial(plain_targets, annotations, packed, preprocessing)
    accumulate(accumulator, network, tracked, indices, targets, autocast_dtype=autocast_dtype)
    return accumulator.result(indices)


def plain_batches(
    packed: PreparedImages, indices: np.ndarray, preprocessing: Preprocessing, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    """These images, read ahead and prepared for the network, nothing changed at random: batches (n, C, H, W) on
    `device`.
    """
    starts = range(0, len(indices), batch_size)
    thunks = (
        partial(read_batch, packed, indices[start : start + batch_size], preprocessing.crop_size) for start in starts
    )
    readers = packed.num_readers
    with contextlib.closing(prefetch(thunks, depth=readers + 1, num_workers=readers)) as batches:
        for images in batches:
            # apart from the network, not in a PixelModel: training's is a part of one, run on features or in 16 bits
            yield network_inputs(preprocessing, images.to(device))


def plain_targets(
    annotations: Annotations, packed: PreparedImages, preprocessing: Preprocessing, indices: np.ndarray
) -> Targets:
    """The targets of these images, nothing changed at random, on the CPU."""
    return annotations.targets(indices, Geometry(preprocessing, packed.shapes[indices]))


def accumulate(
    accumulator: Accumulator,
    network: nn.Module,
    batches: Iterable[Tensor],
    indices: np.ndarray,
    targets_of: Callable[[np.ndarray], Targets],
    *,
    autocast_dtype: torch.dtype | None = None,
    use_inference_mode: bool = True,
) -> None:
    """Take in what the network, in evaluation mode, gives for batches of its input: the images `indices`, one batch
    after another.

    Tensors that are made in inference mode can never be trained on, so a network that keeps some does without.
    """
    start = 0
    with evaluating(network), torch.inference_mode() if use_inference_mode else torch.no_grad():
        for images in batches:
            device, stop = images.device, start + len(images)
            with torch.autocast(device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None):
                outputs = network(images)
            targets = each_tensor(targets_of(indices[start:stop]), lambda tensor: tensor.to(device))  # noqa: B023
            accumulator.update(outputs, targets)
            start = stop
