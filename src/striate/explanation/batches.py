"""Maps computed in batches that fit in memory, by a network in evaluation mode that comes back as it was. N images, H x
W pixels.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from striate.errors import InputError, StriateError
from striate.explanation.scores import Classes, check_classes
from striate.networks.restore import frozen

Part = Callable[[Tensor, Any], Tensor]
"""Takes some of the images (n, C, H, W) and their classes, gives their maps (n, ...)."""

_PIXELS_AT_ONCE = 16 * 224 * 224
_MOST_AT_ONCE = 256


def map_in_parts(
    network: nn.Module, images: Tensor, classes: Classes, part: Part, *, batch_size: int | None = None
) -> Tensor:
    """The maps of all images, (N, ...), computed `batch_size` images at a time by `part` while the network is frozen.

    By default as many at a time as have the pixels of 16 images of 224 x 224. Images are taken in the network's type of
    number; maps are float32, or float64 for a network of float64. Images are computed in the memory layout they have:
    channels last is up to twice as fast on a CPU, and rounds otherwise. A network whose views do not allow that gets
    them contiguous. Raises InputError for images that are no float batch (N, C, H, W).
    """
    with frozen(network):
        images = check_images(network, images)
        chosen = check_classes(classes, len(images))
        size = num_at_once(images, batch_size)
        is_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
        maps, layout = [], torch.channels_last if is_last else torch.contiguous_format
        for start, some in zip(range(0, len(images), size), images.split(size), strict=True):
            own = chosen[start : start + size] if isinstance(chosen, Tensor) else chosen
            try:
                maps.append(part(some.contiguous(memory_format=layout), own))
            except InputError as error:
                if layout is torch.contiguous_format or "view size is not compatible" not in str(error.__cause__):
                    raise
                layout = torch.contiguous_format
                maps.append(part(some.contiguous(), own))
    joined = torch.cat(maps)
    return joined if joined.dtype == torch.float64 else joined.float()


def num_at_once(images: Tensor, batch_size: int | None) -> int:
    """How many images to compute at once: `batch_size`, or as many as have 16 * 224 * 224 pixels. InputError below
    1.
    """
    if batch_size is None:
        return max(1, min(_MOST_AT_ONCE, _PIXELS_AT_ONCE // (images.shape[2] * images.shape[3])))
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1 but is {batch_size}")
    return batch_size


def laid_out_as(images: Tensor, reference: Tensor) -> Tensor:
    """Images (N, C, H, W) in the memory layout of others."""
    is_last = reference.is_contiguous(memory_format=torch.channels_last) and not reference.is_contiguous()
    return images.contiguous(memory_format=torch.channels_last if is_last else torch.contiguous_format)


def check_images(network: nn.Module, images: Tensor) -> Tensor:
    """The images as a batch without history, in the network's type of number. InputError where they are no such
    batch.
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or 0 in images.shape:
        found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise InputError(f"expected a batch of images (N, C, H, W) of one size but got {found}; stack them first")
    if not images.is_floating_point():
        raise InputError(
            f"expected images as the network takes them but got {images.dtype}; give "
            "model.preprocessing.normalize(pixels)"
        )
    param = next((param for param in network.parameters() if param.is_floating_point()), None)
    images = images.detach() if param is None else images.detach().to(param.dtype)
    return images.clone() if images.is_inference() else images


def run(network: nn.Module, images: Tensor) -> Any:
    """What the network gives for a batch; InputError in one line where it cannot take it."""
    try:
        return network(images)
    except StriateError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        size = "x".join(map(str, images.shape))
        raise InputError(f"{type(network).__name__} cannot take images of {size} ({images.dtype}): {reason}") from error
