"""Guided Grad-CAM: the details of guided backpropagation where Grad-CAM looks (arXiv:1610.02391, section 3.2)."""

from torch import Tensor, nn

from striate.explanation.grad_cam import grad_cam
from striate.explanation.guided_backprop import guided_backprop
from striate.explanation.resizing import enlarge
from striate.explanation.scores import Classes


def guided_grad_cam(
    network: nn.Module, images: Tensor, *, classes: Classes, layer: str | None = None, batch_size: int | None = None
) -> Tensor:
    """Guided backpropagation times Grad-CAM, enlarged bilinearly: images (N, C, H, W) -> maps (N, C, H, W).

    Grad-CAM is that of `layer`, by default the last spatial features.
    """
    where = grad_cam(network, images, classes=classes, layer=layer, batch_size=batch_size)
    details = guided_backprop(network, images, classes=classes, batch_size=batch_size)
    return details * enlarge(where, images.shape[2:])[:, None].to(details.dtype)
