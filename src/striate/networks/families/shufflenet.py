"""ShuffleNet (Zhang, Zhou, Lin & Sun 2017, arXiv:1707.01083). N images, C channels, K classes, G groups.

`shufflenet_v1_g3` is the paper's ShuffleNet 1x (g = 3) of Table 1; `x0_5`, `x1_5` and `x2_0` scale the maps of every
layer, though the stem of `x1_5` keeps its 24, as in the authors' code: only so are its multiply-adds the 292 million of
Table 5. Departures: the paper does not say how weights are drawn, so that it is done as torchvision does for mobile
networks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.channel_shuffle import ChannelShuffle
from striate.layers.conv_norm import conv_norm
from striate.layers.initialization import draw_for_mobile
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""
DEPTHS = (4, 8, 4)
"""Table 1: units in stages 2, 3 and 4, the first of each with stride 2."""


@dataclass(frozen=True)
class ShuffleNetV1Config:
    """Table 1: the groups G of pointwise convolutions, the stem's maps, and `widths[i]` maps out of stage i + 2."""

    in_channels: int = 3
    num_classes: int = 1000
    groups: int = 3
    stem_channels: int = 24
    widths: tuple[int, ...] = (240, 480, 960)

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.groups < 1 or self.stem_channels < 1:
            raise InputError(
                f"groups and stem_channels must be at least 1 but are {self.groups} and {self.stem_channels}"
            )
        if len(self.widths) != 3 or min(self.widths) < 1 or any(width % (4 * self.groups) for width in self.widths):
            raise InputError(
                f"widths must be three multiples of 4 * groups, which is {4 * self.groups}, but are {self.widths}"
            )
        befores = (self.stem_channels, *self.widths)
        for before, after in zip(befores, self.widths, strict=False):
            if after <= before or (after - before) % self.groups:
                raise InputError(f"from {before} to {after} maps, a multiple of the {self.groups} groups must be added")


class ShuffleUnit(nn.Module):
    """A bottleneck beside the maps themselves (figure 2b): (N, C, H, W) -> the same shape."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.branch = bottleneck(channels, channels // 4, channels, groups, groups, stride=1)
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """The maps plus what the bottleneck makes of them, rectified."""
        return self.relu(maps + self.branch(maps))


class StridedShuffleUnit(nn.Module):
    """A bottleneck that halves, after averages of the maps (figure 2c): (N, C, H, W) -> (N, out_channels, H / 2, W /
    2).

    `first_groups` are those of the first pointwise convolution: one in stage 2, whose input has few maps.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int, first_groups: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.branch = bottleneck(
            in_channels, out_channels // 4, out_channels - in_channels, groups, first_groups, stride=2
        )
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """The averaged maps and after them those of the bottleneck, rectified."""
        return self.relu(torch.cat([self.pool(maps), self.branch(maps)], dim=1))


class ShuffleNetV1(nn.Module):
    """A stem, pooling, three stages of units, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: ShuffleNetV1Config) -> None:
        super().__init__()
        self.config = config
        self.conv1 = conv_norm(config.in_channels, config.stem_channels, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage2 = stage(config.stem_channels, config.widths[0], DEPTHS[0], config.groups, first_groups=1)
        self.stage3 = stage(config.widths[0], config.widths[1], DEPTHS[1], config.groups, config.groups)
        self.stage4 = stage(config.widths[1], config.widths[2], DEPTHS[2], config.groups, config.groups)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(config.widths[2], config.num_classes)
        draw_for_mobile(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this ShuffleNet")
        maps = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(images)))))
        return self.fc(self.avgpool(maps).flatten(1))


def stage(in_channels: int, out_channels: int, depth: int, groups: int, first_groups: int) -> nn.Sequential:
    """`depth` units, the first of which halves: (N, C, H, W) -> (N, out_channels, H / 2, W / 2)."""
    first = StridedShuffleUnit(in_channels, out_channels, groups, first_groups)
    return nn.Sequential(first, *(ShuffleUnit(out_channels, groups) for _ in range(depth - 1)))


def bottleneck(
    in_channels: int, hidden: int, out_channels: int, groups: int, first_groups: int, *, stride: int
) -> nn.Sequential:
    """Grouped 1x1 and ReLU, shuffle, depthwise 3x3, grouped 1x1: (N, C, H, W) -> (N, out_channels, H / s, W / s)."""
    return nn.Sequential(
        conv_norm(in_channels, hidden, 1, groups=first_groups),
        ChannelShuffle(groups),
        conv_norm(hidden, hidden, stride=stride, groups=hidden, activation=None),
        conv_norm(hidden, out_channels, 1, groups=groups, activation=None),
    )


_TITLE = "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices"
_PAPER = "arXiv:1707.01083"
_TABLE2 = "arXiv:1707.01083, Table 2"
_TABLE5 = "arXiv:1707.01083, Table 5"

ENTRIES = (
    Entry(
        name="shufflenet_v1_g1", family="shufflenet", year=2017, title=_TITLE, paper=_PAPER, build=ShuffleNetV1,
        config=ShuffleNetV1Config(groups=1, widths=(144, 288, 576)), input_size=(3, 224, 224), num_params=1_531_936,
        macs=143_078_976, stem="conv1.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.336, source=_TABLE2),
    ),
    Entry(
        name="shufflenet_v1_g2", family="shufflenet", year=2017, title=_TITLE, paper=_PAPER, build=ShuffleNetV1,
        config=ShuffleNetV1Config(groups=2, widths=(200, 400, 800)), input_size=(3, 224, 224), num_params=1_733_848,
        macs=140_836_512, stem="conv1.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.327, source=_TABLE2),
    ),
    Entry(
        name="shufflenet_v1_g3", family="shufflenet", year=2017, title=_TITLE, paper=_PAPER, build=ShuffleNetV1,
        config=ShuffleNetV1Config(), input_size=(3, 224, 224), num_params=1_865_728, macs=137_460_672, stem="conv1.0",
        head="fc",
        min_size=MIN_SIZE, published=Published(top1_error=0.326, source=_TABLE2),
    ),
    Entry(
        name="shufflenet_v1_g4", family="shufflenet", year=2017, title=_TITLE, paper=_PAPER, build=ShuffleNetV1,
        config=ShuffleNetV1Config(groups=4, widths=(272, 544, 1088)), input_size=(3, 224, 224), num_params=1_968_344,
        macs=134_339_776, stem="conv1.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.328, source=_TABLE2),
    ),
    Entry(
        name="shufflenet_v1_g8", family="shufflenet", year=2017, title=_TITLE, paper=_PAPER, build=ShuffleNetV1,
        config=ShuffleNetV1Config(groups=8, widths=(384, 768, 1536)), input_size=(3, 224, 224), num_params=2_434_768,
        macs=138_365_952, stem="conv1.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.324, source=_TABLE2),
    ),
    Entry(
        name="shufflenet_v1_g3_x0_5", family="shufflenet", year=2017, title=_TITLE, paper=_PAPER, build=ShuffleNetV1,
        config=ShuffleNetV1Config(stem_channels=12, widths=(120, 240, 480)), input_size=(3, 224, 224),
        num_params=718_324,
        macs=37_589_856, stem="conv1.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.432, source=_TABLE2),
    ),
    Entry(
        name="shufflenet_v1_g3_x1_5", family="shufflenet", year=2017, title=_TITLE, paper=_PAPER, build=ShuffleNetV1,
        config=ShuffleNetV1Config(widths=(360, 720, 1440)), input_size=(3, 224, 224), num_params=3_442_168,
        macs=292_443_552,
        stem="conv1.0", head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.285, source=_TABLE5),
    ),
    Entry(
        name="shufflenet_v1_g3_x2_0", family="shufflenet", year=2017, title=_TITLE, paper=_PAPER, build=ShuffleNetV1,
        config=ShuffleNetV1Config(stem_channels=48, widths=(480, 960, 1920)), input_size=(3, 224, 224),
        num_params=5_450_776,
        macs=524_045_184, stem="conv1.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.263, source=_TABLE5),
    ),
)  # fmt: skip
