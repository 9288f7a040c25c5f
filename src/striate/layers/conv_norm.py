"""A convolution, its batch norm and its activation, strung together."""

from collections.abc import Callable

from torch import nn


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    groups: int = 1,
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution 0, norm 1 and activation 2, if any: (N, C, H, W) -> (N, out_channels, H / stride, W / stride).

    The filter's size is odd and padded by half of it, so that sizes that do not divide are rounded up. The convolution
    has no bias, since the norm has one.
    """
    layers = [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False),
        norm(out_channels),
    ]
    return nn.Sequential(*layers) if activation is None else nn.Sequential(*layers, activation())
