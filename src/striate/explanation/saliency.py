"""Saliency: how strongly each pixel moves the score (Simonyan, Vedaldi & Zisserman 2013, arXiv:1312.6034, section
3.1).
"""

from typing import Literal

from torch import Tensor, nn

from striate.errors import InputError
from striate.explanation.gradients import input_gradients
from striate.explanation.scores import Classes


def saliency(
    network: nn.Module,
    images: Tensor,
    *,
    classes: Classes,
    channels: Literal["max", "mean", "all"] = "max",
    batch_size: int | None = None,
) -> Tensor:
    """The absolute gradient of the unnormalised score: images (N, C, H, W) -> maps (N, H, W) >= 0.

    Of the channels the largest value is taken, or their mean; "all" leaves them apart, (N, C, H, W). `classes` is one
    class, or one for each image, or a function from the output to scores (N,). The network comes back unchanged, also
    after an error.
    """
    if channels not in ("max", "mean", "all"):
        raise InputError(f"channels must be max, mean or all but is {channels!r}")
    maps = input_gradients(network, images, classes, batch_size=batch_size).abs()
    if channels == "all":
        return maps
    return maps.amax(dim=1) if channels == "max" else maps.mean(dim=1)
