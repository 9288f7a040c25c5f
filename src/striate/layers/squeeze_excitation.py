"""Squeeze and excitation: weigh every map by what the whole image says (Hu, Shen & Sun 2017, arXiv:1709.01507).

N images, C channels, H x W pixels. Parameter names are torchvision's.
"""

from collections.abc import Callable

from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Average each map, two small layers, a gate for each map (section 3): (N, C, H, W) -> the same shape.

    The layers are 1x1 convolutions with biases, of `squeezed_channels` and C outputs; the paper's activation is ReLU
    and its gate a sigmoid.
    """

    def __init__(
        self,
        channels: int,
        squeezed_channels: int,
        activation: Callable[[], nn.Module] = nn.ReLU,
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed_channels, 1)
        self.activation = activation()
        self.fc2 = nn.Conv2d(squeezed_channels, channels, 1)
        self.scale_activation = gate()

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), each map times its gate."""
        squeezed = self.activation(self.fc1(self.avgpool(maps)))  # (N, squeezed, 1, 1)
        return maps * self.scale_activation(self.fc2(squeezed))
