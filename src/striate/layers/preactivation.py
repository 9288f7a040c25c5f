"""Residual units that normalise and rectify first (He, Zhang, Ren & Sun 2016, arXiv:1603.05027).

N images, C channels, H x W pixels. Nothing follows the sum, so that the shortcuts of all units together are one clean
path from the first maps to the last.
"""

from collections import OrderedDict

from torch import Tensor, nn

from striate.layers.residual import conv1x1, conv3x3


class PreActUnit(nn.Module):
    """The maps plus `residual` of the activated maps (figure 4e): (N, C, H, W) -> (N, C', H / stride, W / stride).

    `activation` is that of `preactivation`, or does nothing where the maps that come are activated already. `shortcut`
    is None for the identity; where it `shares_activation` it starts from the activated maps, as projections do.
    """

    def __init__(
        self, activation: nn.Module, residual: nn.Module, shortcut: nn.Module | None, *, shares_activation: bool
    ) -> None:
        super().__init__()
        self.activation = activation
        self.residual = residual
        self.shortcut = shortcut
        self.shares_activation = shares_activation

    def forward(self, maps: Tensor) -> Tensor:
        """Shortcut plus residual, neither normalised nor rectified."""
        activated = self.activation(maps)
        source = activated if self.shares_activation else maps
        return self.residual(activated) + (source if self.shortcut is None else self.shortcut(source))


def preactivation(channels: int) -> nn.Sequential:
    """Batch norm, then ReLU: the same shape."""
    return nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(channels), relu=nn.ReLU()))


def preact_basic(in_channels: int, out_channels: int, stride: int, *, dropout: float | None = None) -> nn.Sequential:
    """Two 3x3 convolutions, the activation between them, and dropout before the second where a share is given."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=conv3x3(in_channels, out_channels, stride), bn2=nn.BatchNorm2d(out_channels), relu2=nn.ReLU()
    )
    if dropout is not None:
        layers["dropout"] = nn.Dropout(dropout)
    layers["conv2"] = conv3x3(out_channels, out_channels)
    return nn.Sequential(layers)


def preact_bottleneck(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """1x1 with the stride, 3x3, 1x1, activations between them, and a quarter as many maps inside as leave it."""
    width = out_channels // 4
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=conv1x1(in_channels, width, stride), bn2=nn.BatchNorm2d(width), relu2=nn.ReLU(),
        conv2=conv3x3(width, width), bn3=nn.BatchNorm2d(width), relu3=nn.ReLU(),
        conv3=conv1x1(width, out_channels),
    )  # fmt: skip
    return nn.Sequential(layers)
