"""ShuffleNet V2 (Ma, Zhang, Zheng & Sun 2018, arXiv:1807.11164). N images, C channels, K classes.

Parameter names and initialisation are torchvision's, so that its published weights load. `shufflenet_v2_cifar` is no
network of the paper: it is the 1x network with stride 1 in the stem and no pooling, as is usual for 32x32 images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.channel_shuffle import ChannelShuffle
from striate.layers.conv_norm import conv_norm
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""
STEM_CHANNELS = 24
DEPTHS = (4, 8, 4)
"""Table 5: units in stages 2, 3 and 4, the first of each with stride 2."""


@dataclass(frozen=True)
class ShuffleNetV2Config:
    """Table 5: maps out of stages 2, 3 and 4, and those of the 1x1 convolution after them."""

    in_channels: int = 3
    num_classes: int = 1000
    widths: tuple[int, ...] = (116, 232, 464)
    last_channels: int = 1024

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.widths) != 3 or any(width < 2 or width % 2 for width in self.widths):
            raise InputError(f"widths must be three even numbers of at least 2 but are {self.widths}")
        if self.last_channels < 1:
            raise InputError(f"last_channels must be at least 1 but is {self.last_channels}")


class ShuffleUnit(nn.Module):
    """Half of the maps pass, the other half are filtered, then both are mixed (figure 3c): (N, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch2 = nn.Sequential(*pointwise(half, half), *depthwise(half, stride=1), *pointwise(half, half))
        self.shuffle = ChannelShuffle(2)

    def forward(self, maps: Tensor) -> Tensor:
        """The first half as it came and the second as it became, dealt out in turn."""
        kept, changed = maps.chunk(2, dim=1)
        return self.shuffle(torch.cat([kept, self.branch2(changed)], dim=1))


class StridedShuffleUnit(nn.Module):
    """All maps go through both branches, which halve (figure 3d): (N, C, H, W) -> (N, out_channels, H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.branch1 = nn.Sequential(*depthwise(in_channels, stride=2), *pointwise(in_channels, half))
        self.branch2 = nn.Sequential(*pointwise(in_channels, half), *depthwise(half, stride=2), *pointwise(half, half))
        self.shuffle = ChannelShuffle(2)

    def forward(self, maps: Tensor) -> Tensor:
        """The maps of both branches, dealt out in turn."""
        return self.shuffle(torch.cat([self.branch1(maps), self.branch2(maps)], dim=1))


class ShuffleNetV2(nn.Module):
    """A stem, three stages of units, a 1x1 convolution, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: ShuffleNetV2Config, *, stem_stride: int, pool: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.conv1 = conv_norm(config.in_channels, STEM_CHANNELS, stride=stem_stride)
        self.maxpool = pool
        self.stage2 = stage(STEM_CHANNELS, config.widths[0], DEPTHS[0])
        self.stage3 = stage(config.widths[0], config.widths[1], DEPTHS[1])
        self.stage4 = stage(config.widths[1], config.widths[2], DEPTHS[2])
        self.conv5 = conv_norm(config.widths[2], config.last_channels, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(config.last_channels, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this ShuffleNetV2")
        maps = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(images)))))
        return self.fc(self.avgpool(self.conv5(maps)).flatten(1))


def shufflenet_v2(config: ShuffleNetV2Config) -> ShuffleNetV2:
    """Table 5: 224x224 pixels become 7x7."""
    return ShuffleNetV2(config, stem_stride=2, pool=nn.MaxPool2d(3, stride=2, padding=1))


def shufflenet_v2_cifar(config: ShuffleNetV2Config) -> ShuffleNetV2:
    """32x32 pixels become 4x4."""
    return ShuffleNetV2(config, stem_stride=1, pool=nn.Identity())


def stage(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    """`depth` units, the first of which halves: (N, C, H, W) -> (N, out_channels, H / 2, W / 2)."""
    return nn.Sequential(
        StridedShuffleUnit(in_channels, out_channels), *(ShuffleUnit(out_channels) for _ in range(depth - 1))
    )


def pointwise(in_channels: int, out_channels: int) -> nn.Sequential:
    """1x1 convolution, norm, ReLU: (N, C, H, W) -> (N, out_channels, H, W)."""
    return conv_norm(in_channels, out_channels, 1)


def depthwise(channels: int, stride: int) -> nn.Sequential:
    """A 3x3 filter for each map, and norm: (N, C, H, W) -> (N, C, H / stride, W / stride)."""
    return conv_norm(channels, channels, stride=stride, groups=channels, activation=None)


_TITLE = "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design"
_PAPER = "arXiv:1807.11164"
_SOURCE = "arXiv:1807.11164, Table 8"

ENTRIES = (
    Entry(
        name="shufflenet_v2_x0_5", family="shufflenet", year=2018, title=_TITLE, paper=_PAPER, build=shufflenet_v2,
        config=ShuffleNetV2Config(widths=(48, 96, 192)), input_size=(3, 224, 224), num_params=1_366_792,
        macs=40_476_448,
        stem="conv1.0", head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.397, source=_SOURCE),
        weights=(imagenet_weights("shufflenetv2_x0.5-f707e7126e.pth", size_mib=5.282, top1=0.60552, top5=0.81746),),
    ),
    Entry(
        name="shufflenet_v2_x1_0", family="shufflenet", year=2018, title=_TITLE, paper=_PAPER, build=shufflenet_v2,
        config=ShuffleNetV2Config(), input_size=(3, 224, 224), num_params=2_278_604, macs=144_907_992, stem="conv1.0",
        head="fc",
        min_size=MIN_SIZE, published=Published(top1_error=0.306, source=_SOURCE),
        weights=(imagenet_weights("shufflenetv2_x1-5666bf0f80.pth", size_mib=8.791, top1=0.69362, top5=0.88316),),
    ),
    Entry(
        name="shufflenet_v2_x1_5", family="shufflenet", year=2018, title=_TITLE, paper=_PAPER, build=shufflenet_v2,
        config=ShuffleNetV2Config(widths=(176, 352, 704)), input_size=(3, 224, 224), num_params=3_503_624,
        macs=295_759_392,
        stem="conv1.0", head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.274, source=_SOURCE),
        weights=(
            imagenet_weights(
                "shufflenetv2_x1_5-3c479a10.pth", size_mib=13.557, top1=0.72996, top5=0.91086, resize_size=232
            ),
        ),
    ),
    Entry(
        name="shufflenet_v2_x2_0", family="shufflenet", year=2018, title=_TITLE, paper=_PAPER, build=shufflenet_v2,
        config=ShuffleNetV2Config(widths=(244, 488, 976), last_channels=2048), input_size=(3, 224, 224),
        num_params=7_393_996,
        macs=583_253_464, stem="conv1.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.251, source=_SOURCE),
        weights=(
            imagenet_weights(
                "shufflenetv2_x2_0-8be3c8ee.pth", size_mib=28.433, top1=0.76230, top5=0.93006, resize_size=232
            ),
        ),
    ),
    Entry(
        name="shufflenet_v2_cifar", family="shufflenet", year=2018, title=_TITLE, paper=_PAPER,
        build=shufflenet_v2_cifar, config=ShuffleNetV2Config(num_classes=10), input_size=(3, 32, 32),
        num_params=1_263_854,
        macs=45_002_112, stem="conv1.0", head="fc", min_size=MIN_SIZE,
    ),
)  # fmt: skip
