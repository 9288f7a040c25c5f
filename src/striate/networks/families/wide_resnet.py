"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv:1605.07146). N images, C channels, K classes.

WRN-d-k has d convolutions, counting the projections, and k times the maps of the CIFAR networks before it; its units
are pre-activated. The ImageNet forms are ResNets whose bottlenecks have twice the maps inside; parameter names and
initialisation are torchvision's, so that its published weights load. Departures: the share of `dropout` is 0, the paper
gives 0.3 where it uses it (4.00 % become 3.89 % on CIFAR-10 for WRN-28-10). The paper prints errors of WRN-50-2 alone;
`wide_resnet101_2` is torchvision's.
"""

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.preactivation import PreActUnit, preact_basic, preactivation
from striate.layers.residual import Bottleneck, bottleneck, conv1x1, conv3x3, draw_weights, make_stage
from striate.networks.checking import check_counts, check_depths, check_images
from striate.networks.entry import Entry, Published
from striate.networks.families.resnet import ResNet
from striate.networks.imagenet import imagenet_weights

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""


@dataclass(frozen=True)
class WideResNetConfig:
    """For large images: how many bottlenecks in each stage, and how many times the usual maps inside each."""

    in_channels: int = 3
    num_classes: int = 1000
    depths: tuple[int, ...] = (3, 4, 6, 3)
    widen: int = 2

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_depths(self.depths, num_stages=4)
        _check_widen(self.widen)


@dataclass(frozen=True)
class CifarWideResNetConfig:
    """For 32x32 images (Table 1): `depth` is 6 N + 4 for N units a stage, `widen` multiplies 16, 32 and 64 maps.

    `dropout` is the share of activations dropped between the convolutions of every unit.
    """

    in_channels: int = 3
    num_classes: int = 10
    depth: int = 28
    widen: int = 10
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.depth < 10 or self.depth % 6 != 4:
            raise InputError(f"depth must be 6 N + 4, such as 16, 28 or 40, but is {self.depth}")
        _check_widen(self.widen)
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1 but is {self.dropout}")


class CifarWideResNet(nn.Module):
    """3x3 stem, three stages of pre-activated units, the last activation, average: (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: CifarWideResNetConfig) -> None:
        super().__init__()
        self.config = config
        depth, widths = (config.depth - 4) // 6, [config.widen * width for width in (16, 32, 64)]
        make_unit = partial(wide_unit, dropout=config.dropout)
        self.conv1 = conv3x3(config.in_channels, 16)
        self.layer1 = make_stage(make_unit, 16, widths[0], depth, 1)
        self.layer2 = make_stage(make_unit, widths[0], widths[1], depth, 2)
        self.layer3 = make_stage(make_unit, widths[1], widths[2], depth, 2)
        self.activation = preactivation(widths[2])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[2], config.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this wide ResNet")
        maps = self.layer3(self.layer2(self.layer1(self.conv1(images))))
        return self.fc(self.avgpool(self.activation(maps)).flatten(1))


def wide_unit(in_channels: int, out_channels: int, stride: int, *, dropout: float) -> PreActUnit:
    """Figure 1d: 3x3, dropout, 3x3; a projection of the activated maps where their number changes."""
    is_wider = in_channels != out_channels or stride != 1
    return PreActUnit(
        preactivation(in_channels),
        preact_basic(in_channels, out_channels, stride, dropout=dropout),
        conv1x1(in_channels, out_channels, stride) if is_wider else None,
        shares_activation=is_wider,
    )


def wide_resnet(config: WideResNetConfig) -> ResNet:
    """Section 3 for ImageNet: more maps inside the bottlenecks, as many outside as ever."""

    def wide_bottleneck(in_channels: int, out_channels: int, stride: int) -> Bottleneck:
        return bottleneck(in_channels, out_channels, stride, width=config.widen * out_channels // 4)

    return ResNet(config.in_channels, config.num_classes, wide_bottleneck, config.depths)


def _check_widen(widen: int) -> None:
    if widen < 1:
        raise InputError(f"widen must be a whole number of at least 1 but is {widen}")


_TITLE = "Wide Residual Networks"
_PAPER = "arXiv:1605.07146"
_TABLE_5 = "arXiv:1605.07146, Table 5, CIFAR-10 with flips and shifts"

ENTRIES = (
    Entry(
        name="wrn_16_4_cifar", family="wide_resnet", year=2016, title=_TITLE, paper=_PAPER, build=CifarWideResNet,
        config=CifarWideResNetConfig(depth=16, widen=4), input_size=(3, 32, 32), num_params=2_748_890, macs=392_612_352,
        stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.0502, source="arXiv:1605.07146, Table 6, without dropout"),
    ),
    Entry(
        name="wrn_16_8_cifar", family="wide_resnet", year=2016, title=_TITLE, paper=_PAPER, build=CifarWideResNet,
        config=CifarWideResNetConfig(depth=16, widen=8), input_size=(3, 32, 32), num_params=10_961_370,
        macs=1_548_145_664,
        stem="conv1", head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.0427, source=_TABLE_5),
    ),
    Entry(
        name="wrn_28_10_cifar", family="wide_resnet", year=2016, title=_TITLE, paper=_PAPER, build=CifarWideResNet,
        config=CifarWideResNetConfig(), input_size=(3, 32, 32), num_params=36_479_194, macs=5_243_328_768,
        stem="conv1", head="fc",
        min_size=MIN_SIZE, published=Published(top1_error=0.04, source=f"{_TABLE_5}; 3.89 % with dropout, Table 6"),
    ),
    Entry(
        name="wrn_40_4_cifar", family="wide_resnet", year=2016, title=_TITLE, paper=_PAPER, build=CifarWideResNet,
        config=CifarWideResNetConfig(depth=40, widen=4), input_size=(3, 32, 32), num_params=8_949_210,
        macs=1_298_582_016,
        stem="conv1", head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.0453, source=_TABLE_5),
    ),
    Entry(
        name="wide_resnet50_2", family="wide_resnet", year=2016, title=_TITLE, paper=_PAPER, build=wide_resnet,
        config=WideResNetConfig(), input_size=(3, 224, 224), num_params=68_883_240, macs=11_398_021_120, stem="conv1",
        head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.219, source="arXiv:1605.07146, Table 8, WRN-50-2-bottleneck, one crop"),
        weights=(
            imagenet_weights("wide_resnet50_2-95faca4d.pth", size_mib=131.820, top1=0.78468, top5=0.94086),
            imagenet_weights(
                "wide_resnet50_2-9ba9bcbe.pth", size_mib=263.124, top1=0.81602, top5=0.95758, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
    Entry(
        name="wide_resnet101_2", family="wide_resnet", year=2016, title=_TITLE, paper=_PAPER, build=wide_resnet,
        config=WideResNetConfig(depths=(3, 4, 23, 3)), input_size=(3, 224, 224), num_params=126_886_696,
        macs=22_753_050_624, stem="conv1", head="fc", min_size=MIN_SIZE,
        weights=(
            imagenet_weights("wide_resnet101_2-32ee1156.pth", size_mib=242.896, top1=0.78848, top5=0.94284),
            imagenet_weights(
                "wide_resnet101_2-d733dc28.pth", size_mib=484.747, top1=0.82510, top5=0.96020, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
)  # fmt: skip
