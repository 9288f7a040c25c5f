"""Parts shared by residual networks (He, Zhang, Ren & Sun 2015, arXiv:1512.03385): bottlenecks, shortcuts, stages.

N images, C channels, H x W pixels. Parameter names are torchvision's. A block is made by a function of channels in,
channels out and stride, so that a family is its own such function and the numbers of blocks.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

MakeBlock = Callable[[int, int, int], nn.Module]
"""Takes channels in, channels out and stride."""


class Bottleneck(nn.Module):
    """1x1 to few maps, 3x3, 1x1 to many (figure 5, right): (N, C, H, W) -> (N, C', H / stride, W / stride).

    The convolutions are given, since families differ in widths, groups and strides only; `downsample` is the shortcut
    where shapes change, else None.
    """

    def __init__(self, conv1: nn.Conv2d, conv2: nn.Conv2d, conv3: nn.Conv2d, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(conv1.out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = conv2
        self.bn2 = nn.BatchNorm2d(conv2.out_channels)
        self.relu2 = nn.ReLU()
        self.conv3 = conv3
        self.bn3 = nn.BatchNorm2d(conv3.out_channels)
        self.downsample = downsample
        self.relu3 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """The maps plus what the three convolutions make of them, rectified."""
        residual = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return self.relu3(residual + shortcut)


class PadShortcut(nn.Module):
    """Option A (section 4.2): every second pixel, more maps of zeros: (N, C, H, W) -> (N, C + extra, H / s, W / s)."""

    def __init__(self, extra_channels: int, stride: int) -> None:
        super().__init__()
        self.extra_channels = extra_channels
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """The zeros come half before and half after the maps that there are; if odd, one more after."""
        before = self.extra_channels // 2
        after = self.extra_channels - before
        return F.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after))


def bottleneck(
    in_channels: int, out_channels: int, stride: int, *, width: int | None = None, groups: int = 1
) -> Bottleneck:
    """With the stride in the 3x3, and `width` maps inside, a quarter of those that leave it unless given."""
    width = out_channels // 4 if width is None else width
    downsample = projection(in_channels, out_channels, stride)
    return Bottleneck(
        conv1x1(in_channels, width), conv3x3(width, width, stride, groups), conv1x1(width, out_channels), downsample
    )


def bottleneck_v1(in_channels: int, out_channels: int, stride: int) -> Bottleneck:
    """The paper's: with the stride in the first 1x1, and a quarter as many maps inside as leave it."""
    width = out_channels // 4
    downsample = projection(in_channels, out_channels, stride)
    return Bottleneck(
        conv1x1(in_channels, width, stride), conv3x3(width, width), conv1x1(width, out_channels), downsample
    )


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Option B: a strided 1x1 convolution and its batch norm; None where the maps keep their shape."""
    if in_channels == out_channels and stride == 1:
        return None
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


def pad_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """Option A, without parameters; None where the maps keep their shape."""
    if in_channels == out_channels and stride == 1:
        return None
    return PadShortcut(out_channels - in_channels, stride)


def make_stage(make_block: MakeBlock, in_channels: int, out_channels: int, depth: int, stride: int) -> nn.Sequential:
    """`depth` blocks, the first with the stride s: (N, in_channels, H, W) -> (N, out_channels, H / s, W / s)."""
    first = make_block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(make_block(out_channels, out_channels, 1) for _ in range(depth - 1)))


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias, since batch norm follows."""
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A padded 3x3 convolution without bias, since batch norm follows."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, groups=groups, bias=False)


def draw_weights(network: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852) for every convolution, by fan out as the authors and torchvision; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
