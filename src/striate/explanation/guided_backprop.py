"""Guided backpropagation (Springenberg et al. 2014, arXiv:1412.6806, section 3.4)."""

from torch import Tensor, nn

from striate.explanation.backward_rules import guided, rectified_gradients
from striate.explanation.scores import Classes


def guided_backprop(network: nn.Module, images: Tensor, *, classes: Classes, batch_size: int | None = None) -> Tensor:
    """The gradient of the score that no negative gradient enters an activation with: images (N, C, H, W) -> maps (N, C,
    H, W).

    Shows edges more than reasons: its maps change little with the weights or the class (Adebayo et al. 2018,
    arXiv:1810.03292). What it means for activations other than ReLU stands in backward_rules.py. Raises InputError for
    a network without any, and where one cannot be seen.
    """
    return rectified_gradients(network, images, classes, guided, batch_size=batch_size)
