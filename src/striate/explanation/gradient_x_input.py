"""Gradient times input: the first-order share of each pixel in the score (Shrikumar et al. 2016, arXiv:1605.01713,
section 3).
"""

from torch import Tensor, nn

from striate.explanation.batches import check_images
from striate.explanation.gradients import input_gradients
from striate.explanation.scores import Classes


def gradient_x_input(network: nn.Module, images: Tensor, *, classes: Classes, batch_size: int | None = None) -> Tensor:
    """The gradient of the score times the image, signed: images (N, C, H, W) -> maps (N, C, H, W).

    For a network that is linear in its images they sum to the score, less what it gives for zeros.
    """
    gradients = input_gradients(network, images, classes, batch_size=batch_size)
    return gradients * check_images(network, images).to(gradients.dtype)
