"""DropConnect: leave connections out, where dropout leaves units out (Wan, Zeiler, Zhang, LeCun & Fergus 2013, ICML).

N images, D features, C channels. q is the share that is dropped, `p` in torch's layers (the paper's p is 1 - q).

Departures: what stays is scaled by 1 / (1 - q) in training, so that evaluation takes the weights as they are; the
paper samples its evaluation from a normal distribution, whose mean and variance `moments` gives.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import InputError


class DropConnectLinear(nn.Linear):
    """A linear layer that loses each weight and bias with probability `p` in training: (N, ..., D) -> (N, ..., D').

    Every image has connections of its own, as in the paper, at the price of a weight matrix for each;
    `is_per_image=False` draws one for the batch. Draws come from torch's global generator. The dropping is done by a
    torch dropout layer within, so that tools that look for one find it.
    """

    def __init__(
        self, in_features: int, out_features: int, p: float = 0.5, *, bias: bool = True, is_per_image: bool = True
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self.is_per_image = is_per_image
        self.drop = _dropout(p)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, ..., D) -> (N, ..., D')."""
        if not self.drop.training or self.drop.p == 0:
            return super().forward(inputs)
        if not self.is_per_image:
            return F.linear(inputs, self.drop(self.weight), None if self.bias is None else self.drop(self.bias))
        num_images = len(inputs)
        weights = self.drop(self.weight.expand(num_images, -1, -1))  # (N, D', D)
        outputs = torch.einsum("n...d,ned->n...e", inputs, weights)
        if self.bias is None:
            return outputs
        biases = self.drop(self.bias.expand(num_images, -1))  # (N, D')
        return outputs + biases.view(num_images, *[1] * (inputs.ndim - 2), -1)

    def moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of what training answers, over all drawings: (N, ..., D) -> twice (N, ..., D').

        The paper's evaluation draws from the normal distribution with these, passes each draw through the activation
        and averages (its section on inference).
        """
        squares = F.linear(inputs.square(), self.weight.square(), None if self.bias is None else self.bias.square())
        return F.linear(inputs, self.weight, self.bias), squares * _odds(self.drop.p)


class DropConnectConv2d(nn.Conv2d):
    """A convolution that does the same with its filters and biases: (N, C, H, W) -> (N, C', H', W').

    A connection lost is lost at every place of the image.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        p: float = 0.5,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        is_per_image: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.is_per_image = is_per_image
        self.drop = _dropout(p)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        if not self.drop.training or self.drop.p == 0:
            return super().forward(images)
        if not self.is_per_image:
            return self._convolve(images, self.drop(self.weight), None if self.bias is None else self.drop(self.bias))
        num_images = len(images)
        # images side by side as channels, so that groups keep them and their filters apart
        weights = self.drop(self.weight.expand(num_images, *[-1] * 4)).flatten(0, 1)  # (N * C', C / groups, F, F)
        biases = None if self.bias is None else self.drop(self.bias.expand(num_images, -1)).flatten()
        maps = self._convolve(images.flatten(0, 1)[None], weights, biases, self.groups * num_images)
        return maps.unflatten(1, (num_images, -1)).squeeze(0)

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of what training answers, over all drawings: twice (N, C', H', W')."""
        squares = self._convolve(
            images.square(), self.weight.square(), None if self.bias is None else self.bias.square()
        )
        return self._convolve(images, self.weight, self.bias), squares * _odds(self.drop.p)

    def _convolve(self, images: Tensor, weight: Tensor, bias: Tensor | None, groups: int | None = None) -> Tensor:
        return F.conv2d(images, weight, bias, self.stride, self.padding, self.dilation, groups or self.groups)


def _dropout(p: float) -> nn.Dropout:
    if not 0 <= p < 1:
        raise InputError(f"p must be at least 0 and below 1 but is {p}; at 1 no connection would be left")
    return nn.Dropout(p)


def _odds(p: float) -> float:
    """The variance of one kept-or-dropped factor, whose mean is 1."""
    return p / (1 - p)
