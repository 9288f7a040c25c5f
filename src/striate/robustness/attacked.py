"""The network under attack: every question asked of it is counted, in evaluation mode, and it comes back as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from striate.errors import InputError, NonFiniteLoss
from striate.networks.restore import frozen

Callee = nn.Module | Callable[[Tensor], Tensor]
"""A module from pixels in [0, 1] to outputs, or for attacks without gradients any function that does the same."""


class Attacked:
    """A network that counts the images it was asked about. Outputs are float32 and finite, or an error."""

    def __init__(self, network: Callee) -> None:
        self.network = network
        self.num_queries = 0

    def outputs(self, images: Tensor) -> Tensor:
        """Outputs (N, K) of images (N, C, H, W) in [0, 1], without gradients. NonFiniteLoss where one is NaN or
        infinite.
        """
        with torch.no_grad():
            return self._finite(self.network(images), len(images))

    def climb(self, images: Tensor, loss_fn: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (N, K), losses (N,) and the gradient (N, C, H, W) of each loss by its own image.

        InputError where the network gives no gradients; NonFiniteLoss where they are NaN or infinite.
        """
        images = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            outputs = self._finite(self.network(images), len(images))
            if not outputs.requires_grad:
                raise InputError(NO_GRADIENTS)
            losses = loss_fn(outputs)
            (gradients,) = torch.autograd.grad(losses.sum(), images)
        if not gradients.isfinite().all():
            raise NonFiniteLoss(
                "the gradients of the network are NaN or infinite, so no attack can follow them; "
                "square and boundary need none"
            )
        return outputs.detach(), losses.detach(), gradients

    def climb_each(self, images: Tensor, classes: Tensor, base: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (N, K), logits of `classes` (N, M) less that of the class `base` (N,), and their gradients (N, M, D),
        D = C * H * W.
        """
        images = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            outputs = self._finite(self.network(images), len(images))
            if not outputs.requires_grad:
                raise InputError(NO_GRADIENTS)
            differences = outputs.gather(1, classes) - outputs.gather(1, base[:, None])
            gradients = [
                torch.autograd.grad(column.sum(), images, retain_graph=True)[0].flatten(1)
                for column in differences.unbind(dim=1)
            ]
        found = torch.stack(gradients, dim=1)
        if not found.isfinite().all():
            raise NonFiniteLoss("the gradients of the network are NaN or infinite, so no attack can follow them")
        return outputs.detach(), differences.detach(), found

    def _finite(self, outputs: Tensor, num_images: int) -> Tensor:
        self.num_queries += num_images
        if not isinstance(outputs, Tensor):
            raise InputError(
                f"expected a network that outputs one tensor but it gives a {type(outputs).__name__}; wrap it in a "
                "module"
            )
        if not outputs.isfinite().all():
            raise NonFiniteLoss(
                "the network outputs NaN or infinity; its weights are damaged, so there is nothing to attack"
            )
        return outputs.float()


NO_GRADIENTS = (
    "this model gives no gradients (an exported, quantised or other opaque model); "
    "attack it as a black box: --method square, boundary, one_pixel or noise, or --through a model of yours"
)


@contextmanager
def attacking(network: Callee) -> Iterator[Attacked]:
    """The network in evaluation mode and without gradients of its weights; everything comes back as it was, also after
    an error.
    """
    if not isinstance(network, nn.Module):
        yield Attacked(network)
        return
    with frozen(network):
        yield Attacked(network)
