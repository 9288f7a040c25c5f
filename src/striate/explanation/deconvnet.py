"""The deconvolutional network (Zeiler & Fergus 2013, arXiv:1311.2901, section 2.1)."""

from torch import Tensor, nn

from striate.explanation.backward_rules import passed, rectified_gradients
from striate.explanation.scores import Classes


def deconvnet(network: nn.Module, images: Tensor, *, classes: Classes, batch_size: int | None = None) -> Tensor:
    """The score sent back through rectified filters: images (N, C, H, W) -> maps (N, C, H, W).

    Each activation lets positive gradients pass, wherever its input lay; max pooling sends them to the maximum. What it
    means for activations other than ReLU stands in backward_rules.py. Raises InputError for a network without any, and
    where one cannot be seen.
    """
    return rectified_gradients(network, images, classes, passed, batch_size=batch_size)
