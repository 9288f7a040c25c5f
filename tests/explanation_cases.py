"""Networks whose explanations are known without hooks: each says itself, by autograd alone, what a backward rule makes
of it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "gelu": F.gelu,
    "leaky_relu": F.leaky_relu,
}


class TwoModules(nn.Module):
    """Two convolutions, two modules of an activation."""

    def __init__(self, kind: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.one, self.two = kind(), kind()
        self.head = nn.Linear(8, 5)

    def activate(self, maps: Tensor, call: int) -> Tensor:
        return self.one(maps) if call == 0 else self.two(maps)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.activate(self.first(images) * 4, 0)
        return self.head(self.activate(self.second(maps), 1).mean(dim=(2, 3)))


class OneReused(TwoModules):
    """One module, used twice."""

    def activate(self, maps: Tensor, call: int) -> Tensor:  # noqa: ARG002
        return self.one(maps)


class Functional(TwoModules):
    """A function between modules."""

    def activate(self, maps: Tensor, call: int) -> Tensor:  # noqa: ARG002
        return F.relu(maps)


class InPlace(TwoModules):
    """A function in place whose result is ignored, and a method in place."""

    def activate(self, maps: Tensor, call: int) -> Tensor:
        if call == 0:
            F.relu_(maps)
            return maps
        return maps.relu_()


class Clamped(TwoModules):
    """ReLU written as a clamp."""

    def activate(self, maps: Tensor, call: int) -> Tensor:
        return maps.clamp(min=0) if call == 0 else torch.clamp_min(maps, 0)


def by_hand(
    network: TwoModules, images: Tensor, label: int, activation: Callable[[Tensor], Tensor], rule: str
) -> Tensor:
    """The gradient of a class's score by the images, with the backward rule "guided" or "deconvnet" at both
    activations; no hooks.
    """

    def back_through(inputs: Tensor, gradients: Tensor) -> Tensor:
        positive = gradients.clamp(min=0)
        if rule == "deconvnet":
            return positive
        leaf = inputs.detach().requires_grad_()
        return torch.autograd.grad(activation(leaf), leaf, positive)[0]

    leaf = images.clone().requires_grad_()
    before_one = network.first(leaf) * 4
    one = activation(before_one.detach()).requires_grad_()
    before_two = network.second(one)
    two = activation(before_two.detach()).requires_grad_()
    score = network.head(two.mean(dim=(2, 3)))[:, label].sum()
    (gradients,) = torch.autograd.grad(score, two)
    (gradients,) = torch.autograd.grad(before_two, one, back_through(before_two, gradients))
    return torch.autograd.grad(before_one, leaf, back_through(before_one, gradients))[0]
