"""Densely connected networks (Huang, Liu, van der Maaten & Weinberger 2016, arXiv:1608.06993).

N images, C channels, K classes, k the growth rate: the maps that every layer adds.

Parameter names and initialisation are torchvision's, so that its published weights load. Departures: no dropout, which
the paper has only where images are not augmented (a fifth, after every convolution but the first); the last batch norm
is followed by a ReLU and a transition's by one too, as in the authors' code, which the paper does not say.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights

MIN_SIZE = (29, 29)
"""The stem quarters, rounding up, and three transitions halve, rounding down: at least 8 pixels must be left to them.
"""
CIFAR_MIN_SIZE = (4, 4)


@dataclass(frozen=True)
class DenseNetConfig:
    """For large images (Table 1), DenseNet-BC: a stem of `stem_channels` maps and `depths[i]` layers in block i."""

    in_channels: int = 3
    num_classes: int = 1000
    depths: tuple[int, ...] = (6, 12, 24, 16)
    growth_rate: int = 32
    stem_channels: int = 64

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.depths) != 4 or min(self.depths) < 1:
            raise InputError(f"depths must be four numbers of at least 1 but are {self.depths}")
        if self.growth_rate < 1 or self.stem_channels < 1:
            raise InputError(
                f"growth_rate and stem_channels must be at least 1 but are {self.growth_rate} and {self.stem_channels}"
            )


@dataclass(frozen=True)
class CifarDenseNetConfig:
    """For 32x32 images (section 4): `depths[i]` layers in block i.

    `variant` is "basic", a 3x3 convolution a layer and transitions that keep all maps after a stem of 16, or "bc", with
    a 1x1 bottleneck before each and transitions that keep half of them after a stem of 2k. The paper's depth L is that
    of all layers with weights: 4 plus the sum of depths, or plus twice that sum for "bc".
    """

    in_channels: int = 3
    num_classes: int = 10
    depths: tuple[int, ...] = (12, 12, 12)
    growth_rate: int = 12
    variant: Literal["basic", "bc"] = "basic"

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if len(self.depths) != 3 or min(self.depths) < 1:
            raise InputError(f"depths must be three numbers of at least 1 but are {self.depths}")
        if self.growth_rate < 1:
            raise InputError(f"growth_rate must be at least 1 but is {self.growth_rate}")
        if self.variant not in ("basic", "bc"):
            raise InputError(f"variant must be 'basic' or 'bc' but is {self.variant!r}")


class BasicLayer(nn.Module):
    """BN-ReLU-Conv(3x3) (section 3): (N, C, H, W) -> (N, C + k, H, W), the maps and after them the k new ones."""

    def __init__(self, in_channels: int, growth_rate: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, growth_rate, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + k, H, W)."""
        return torch.cat([maps, self.conv1(self.relu1(self.norm1(maps)))], dim=1)


class BottleneckLayer(nn.Module):
    """BN-ReLU-Conv(1x1)-BN-ReLU-Conv(3x3), the 1x1 to 4k maps (section 3): (N, C, H, W) -> (N, C + k, H, W)."""

    def __init__(self, in_channels: int, growth_rate: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, 4 * growth_rate, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth_rate)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + k, H, W)."""
        few = self.conv1(self.relu1(self.norm1(maps)))  # (N, 4k, H, W)
        return torch.cat([maps, self.conv2(self.relu2(self.norm2(few)))], dim=1)


Layer = type[BasicLayer] | type[BottleneckLayer]


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(
        self,
        config: DenseNetConfig | CifarDenseNetConfig,
        stem: OrderedDict[str, nn.Module],
        stem_channels: int,
        layer: Layer,
        compression: float,
        min_size: tuple[int, int],
    ) -> None:
        super().__init__()
        self.config = config
        self.min_size = min_size
        self.features = nn.Sequential(stem)
        channels = stem_channels
        for number, depth in enumerate(config.depths, start=1):
            self.features.add_module(f"denseblock{number}", dense_block(layer, channels, config.growth_rate, depth))
            channels += depth * config.growth_rate
            if number < len(config.depths):
                kept = int(compression * channels)
                self.features.add_module(f"transition{number}", transition(channels, kept))
                channels = kept
        self.features.add_module(f"norm{len(config.depths) + 1}", nn.BatchNorm2d(channels))
        self.relu = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, config.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        check_images(images, self.config.in_channels, self.min_size, network="this DenseNet")
        maps = self.relu(self.features(images))
        return self.classifier(self.avgpool(maps).flatten(1))


def densenet(config: DenseNetConfig) -> DenseNet:
    """Table 1: bottlenecks, transitions that keep half of the maps, and a stem that quarters the image."""
    stem: OrderedDict[str, nn.Module] = OrderedDict(
        conv0=nn.Conv2d(config.in_channels, config.stem_channels, 7, stride=2, padding=3, bias=False),
        norm0=nn.BatchNorm2d(config.stem_channels),
        relu0=nn.ReLU(),
        pool0=nn.MaxPool2d(3, stride=2, padding=1),
    )
    return DenseNet(config, stem, config.stem_channels, BottleneckLayer, compression=0.5, min_size=MIN_SIZE)


def densenet_cifar(config: CifarDenseNetConfig) -> DenseNet:
    """Section 4: one convolution as stem, blocks at 32x32, 16x16 and 8x8."""
    is_bc = config.variant == "bc"
    stem_channels = 2 * config.growth_rate if is_bc else 16
    stem: OrderedDict[str, nn.Module] = OrderedDict(
        conv0=nn.Conv2d(config.in_channels, stem_channels, 3, padding=1, bias=False)
    )
    layer, compression = (BottleneckLayer, 0.5) if is_bc else (BasicLayer, 1.0)
    return DenseNet(config, stem, stem_channels, layer, compression, CIFAR_MIN_SIZE)


def dense_block(layer: Layer, in_channels: int, growth_rate: int, depth: int) -> nn.Sequential:
    """`depth` layers, each of which sees the maps of all before it: (N, C, H, W) -> (N, C + depth * k, H, W)."""
    return nn.Sequential(
        OrderedDict((f"denselayer{i + 1}", layer(in_channels + i * growth_rate, growth_rate)) for i in range(depth))
    )


def transition(in_channels: int, out_channels: int) -> nn.Sequential:
    """BN-ReLU-Conv(1x1) and 2x2 averages between two blocks: (N, C, H, W) -> (N, out_channels, H // 2, W // 2)."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(in_channels),
            relu=nn.ReLU(),
            conv=nn.Conv2d(in_channels, out_channels, 1, bias=False),
            pool=nn.AvgPool2d(2),
        )
    )


def draw_weights(network: DenseNet) -> None:
    """He et al. 2015 (arXiv:1502.01852) for every convolution, as section 4.2 says; in place. The last bias is zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    nn.init.zeros_(network.classifier.bias)


def rename_old(name: str) -> str:
    """A parameter's name for that in torchvision's published files, which date from when names could hold dots.

    >>> rename_old("features.denseblock1.denselayer2.norm.1.weight")
    'features.denseblock1.denselayer2.norm1.weight'
    """
    return re.sub(r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)


_TITLE = "Densely Connected Convolutional Networks"
_PAPER = "arXiv:1608.06993"
_SINGLE = "arXiv:1608.06993, Table 3, one crop"
_TABLE2 = "arXiv:1608.06993, Table 2, CIFAR-10 with augmentation"

ENTRIES = (
    Entry(
        name="densenet121", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet,
        config=DenseNetConfig(), input_size=(3, 224, 224), num_params=7_978_856, macs=2_834_161_664,
        stem="features.conv0", head="classifier", min_size=MIN_SIZE, rename=rename_old,
        published=Published(top1_error=0.2502, top5_error=0.0771, source=_SINGLE),
        weights=(imagenet_weights("densenet121-a639ec97.pth", size_mib=30.845, top1=0.74434, top5=0.91972),),
    ),
    Entry(
        name="densenet161", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet,
        config=DenseNetConfig(depths=(6, 12, 36, 24), growth_rate=48, stem_channels=96),
        input_size=(3, 224, 224), num_params=28_681_000, macs=7_727_907_072,
        stem="features.conv0", head="classifier", min_size=MIN_SIZE, rename=rename_old,
        weights=(imagenet_weights("densenet161-8d451a50.pth", size_mib=110.369, top1=0.77138, top5=0.93560),),
    ),
    Entry(
        name="densenet169", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet,
        config=DenseNetConfig(depths=(6, 12, 32, 32)), input_size=(3, 224, 224), num_params=14_149_480,
        macs=3_359_843_328, stem="features.conv0", head="classifier", min_size=MIN_SIZE, rename=rename_old,
        published=Published(top1_error=0.2380, top5_error=0.0685, source=_SINGLE),
        weights=(imagenet_weights("densenet169-b2777c0a.pth", size_mib=54.708, top1=0.75600, top5=0.92806),),
    ),
    Entry(
        name="densenet201", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet,
        config=DenseNetConfig(depths=(6, 12, 48, 32)), input_size=(3, 224, 224), num_params=20_013_928,
        macs=4_291_365_888, stem="features.conv0", head="classifier", min_size=MIN_SIZE, rename=rename_old,
        published=Published(top1_error=0.2258, top5_error=0.0634, source=_SINGLE),
        weights=(imagenet_weights("densenet201-c1103571.pth", size_mib=77.373, top1=0.76896, top5=0.93370),),
    ),
    Entry(
        name="densenet_40_12_cifar", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet_cifar,
        config=CifarDenseNetConfig(), input_size=(3, 32, 32), num_params=1_019_722, macs=264_812_928,
        stem="features.conv0",
        head="classifier", min_size=CIFAR_MIN_SIZE, published=Published(top1_error=0.0524, source=_TABLE2),
    ),
    Entry(
        name="densenet_100_12_cifar", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet_cifar,
        config=CifarDenseNetConfig(depths=(32, 32, 32)), input_size=(3, 32, 32), num_params=6_979_642,
        macs=1_769_516_448,
        stem="features.conv0", head="classifier", min_size=CIFAR_MIN_SIZE,
        published=Published(top1_error=0.0410, source=_TABLE2),
    ),
    Entry(
        name="densenet_bc_40_12_cifar", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet_cifar,
        config=CifarDenseNetConfig(depths=(6, 6, 6), variant="bc"), input_size=(3, 32, 32), num_params=176_122,
        macs=72_365_352,
        stem="features.conv0", head="classifier", min_size=CIFAR_MIN_SIZE,
    ),
    Entry(
        name="densenet_bc_100_12_cifar", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet_cifar,
        config=CifarDenseNetConfig(depths=(16, 16, 16), variant="bc"), input_size=(3, 32, 32), num_params=769_162,
        macs=287_929_692,
        stem="features.conv0", head="classifier", min_size=CIFAR_MIN_SIZE,
        published=Published(top1_error=0.0451, source=_TABLE2),
    ),
    Entry(
        name="densenet_bc_250_24_cifar", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet_cifar,
        config=CifarDenseNetConfig(depths=(41, 41, 41), growth_rate=24, variant="bc"), input_size=(3, 32, 32),
        num_params=15_324_406, macs=5_418_785_724, stem="features.conv0", head="classifier", min_size=CIFAR_MIN_SIZE,
        published=Published(top1_error=0.0362, source=_TABLE2),
    ),
    Entry(
        name="densenet_bc_190_40_cifar", family="densenet", year=2016, title=_TITLE, paper=_PAPER, build=densenet_cifar,
        config=CifarDenseNetConfig(depths=(31, 31, 31), growth_rate=40, variant="bc"), input_size=(3, 32, 32),
        num_params=25_624_430, macs=9_301_945_740, stem="features.conv0", head="classifier", min_size=CIFAR_MIN_SIZE,
        published=Published(top1_error=0.0346, source=_TABLE2),
    ),
)  # fmt: skip
