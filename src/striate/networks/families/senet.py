"""Squeeze-and-excitation networks (Hu, Shen & Sun 2017, arXiv:1709.01507). N images, C channels, K classes.

ResNets and ResNeXts in whose every block the residual is recalibrated before it is added (figure 3), as the authors
published them: SE-ResNets have their stride in the first 1x1 convolution, SE-ResNeXts in the 3x3, and the first pooling
is not padded but rounds its size up. Departures: none that are known; SENet-154 follows the paper's appendix.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.residual import MakeBlock, conv1x1, conv3x3, draw_weights, make_stage, projection
from striate.layers.squeeze_excitation import SqueezeExcitation
from striate.networks.checking import check_counts, check_depths, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE = (3, 3)
"""Below, the stem leaves one pixel, which is less than a pooling without padding takes."""
WIDTHS = (256, 512, 1024, 2048)
"""Maps that leave each stage."""


@dataclass(frozen=True)
class SENetConfig:
    """Blocks in each stage, maps for each one in the squeezed layer, and the share dropped before the last layer."""

    in_channels: int = 3
    num_classes: int = 1000
    depths: tuple[int, ...] = (3, 4, 6, 3)
    reduction: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_depths(self.depths, num_stages=4)
        if not 1 <= self.reduction <= WIDTHS[0]:
            raise InputError(f"reduction must be from 1 to {WIDTHS[0]} but is {self.reduction}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1 but is {self.dropout}")


class SEBottleneck(nn.Module):
    """A bottleneck, its residual recalibrated (figure 3): (N, C, H, W) -> (N, C', H / stride, W / stride).

    The convolutions are given, since the networks differ in them only; `downsample` is the shortcut where shapes
    change, else None.
    """

    def __init__(
        self, conv1: nn.Conv2d, conv2: nn.Conv2d, conv3: nn.Conv2d, downsample: nn.Module | None, reduction: int
    ) -> None:
        super().__init__()
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(conv1.out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = conv2
        self.bn2 = nn.BatchNorm2d(conv2.out_channels)
        self.relu2 = nn.ReLU()
        self.conv3 = conv3
        self.bn3 = nn.BatchNorm2d(conv3.out_channels)
        self.se = SqueezeExcitation(conv3.out_channels, conv3.out_channels // reduction)
        self.downsample = downsample
        self.relu3 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """The maps plus what the convolutions and the gates make of them, rectified."""
        residual = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        residual = self.se(self.bn3(self.conv3(residual)))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return self.relu3(residual + shortcut)


class SENet(nn.Module):
    """A stem at half the size, four stages of blocks, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: SENetConfig, stem: nn.Sequential, stem_width: int, make_block: MakeBlock) -> None:
        super().__init__()
        self.config = config
        self.stem = stem
        self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.layer1 = make_stage(make_block, stem_width, WIDTHS[0], config.depths[0], 1)
        self.layer2 = make_stage(make_block, WIDTHS[0], WIDTHS[1], config.depths[1], 2)
        self.layer3 = make_stage(make_block, WIDTHS[1], WIDTHS[2], config.depths[2], 2)
        self.layer4 = make_stage(make_block, WIDTHS[2], WIDTHS[3], config.depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(WIDTHS[3], config.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this SENet")
        maps = self.maxpool(self.stem(images))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        return self.fc(self.dropout(self.avgpool(maps).flatten(1)))


def se_resnet(config: SENetConfig) -> SENet:
    """Table 1, middle: a quarter of the maps inside, the stride in the first 1x1."""

    def make_block(in_channels: int, out_channels: int, stride: int) -> SEBottleneck:
        width = out_channels // 4
        convs = conv1x1(in_channels, width, stride), conv3x3(width, width), conv1x1(width, out_channels)
        return SEBottleneck(*convs, projection(in_channels, out_channels, stride), config.reduction)

    return SENet(config, stem_7x7(config.in_channels), 64, make_block)


def se_resnext_32x4d(config: SENetConfig) -> SENet:
    """Table 1, right: half of the maps inside, the 3x3 in 32 groups with the stride."""

    def make_block(in_channels: int, out_channels: int, stride: int) -> SEBottleneck:
        width = out_channels // 2
        convs = conv1x1(in_channels, width), conv3x3(width, width, stride, groups=32), conv1x1(width, out_channels)
        return SEBottleneck(*convs, projection(in_channels, out_channels, stride), config.reduction)

    return SENet(config, stem_7x7(config.in_channels), 64, make_block)


def senet154(config: SENetConfig) -> SENet:
    """The appendix: a stem of three 3x3 convolutions; ResNeXt 64x4d with half the maps after the first 1x1; 3x3
    projections.
    """

    def make_block(in_channels: int, out_channels: int, stride: int) -> SEBottleneck:
        convs = (
            conv1x1(in_channels, out_channels // 2),
            conv3x3(out_channels // 2, out_channels, stride, groups=64),
            conv1x1(out_channels, out_channels),
        )
        shortcut = projection(in_channels, out_channels, stride)
        if stride != 1:
            shortcut = nn.Sequential(conv3x3(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))
        return SEBottleneck(*convs, shortcut, config.reduction)

    return SENet(config, stem_3x3(config.in_channels), 128, make_block)


def stem_7x7(in_channels: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, 64, H / 2, W / 2)."""
    conv = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(64), nn.ReLU())


def stem_3x3(in_channels: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, 128, H / 2, W / 2)."""
    return nn.Sequential(
        conv3x3(in_channels, 64, stride=2), nn.BatchNorm2d(64), nn.ReLU(),
        conv3x3(64, 64), nn.BatchNorm2d(64), nn.ReLU(),
        conv3x3(64, 128), nn.BatchNorm2d(128), nn.ReLU(),
    )  # fmt: skip


_TITLE = "Squeeze-and-Excitation Networks"
_PAPER = "arXiv:1709.01507"
_TABLE_2 = "arXiv:1709.01507, Table 2, one crop of 224x224"

ENTRIES = (
    Entry(
        name="se_resnet50", family="senet", year=2017, title=_TITLE, paper=_PAPER, build=se_resnet,
        config=SENetConfig(), input_size=(3, 224, 224), num_params=28_088_024, macs=3_860_488_192, stem="stem.0",
        head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2329, top5_error=0.0662, source=_TABLE_2),
    ),
    Entry(
        name="se_resnet101", family="senet", year=2017, title=_TITLE, paper=_PAPER, build=se_resnet,
        config=SENetConfig(depths=(3, 4, 23, 3)), input_size=(3, 224, 224), num_params=49_326_872,
        macs=7_574_937_600, stem="stem.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2238, top5_error=0.0607, source=_TABLE_2),
    ),
    Entry(
        name="se_resnet152", family="senet", year=2017, title=_TITLE, paper=_PAPER, build=se_resnet,
        config=SENetConfig(depths=(3, 8, 36, 3)), input_size=(3, 224, 224), num_params=66_821_848,
        macs=11_288_993_792, stem="stem.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2157, top5_error=0.0573, source=_TABLE_2),
    ),
    Entry(
        name="se_resnext50_32x4d", family="senet", year=2017, title=_TITLE, paper=_PAPER, build=se_resnext_32x4d,
        config=SENetConfig(), input_size=(3, 224, 224), num_params=27_559_896, macs=4_232_994_816, stem="stem.0",
        head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2110, top5_error=0.0549, source=_TABLE_2),
    ),
    Entry(
        name="se_resnext101_32x4d", family="senet", year=2017, title=_TITLE, paper=_PAPER, build=se_resnext_32x4d,
        config=SENetConfig(depths=(3, 4, 23, 3)), input_size=(3, 224, 224), num_params=48_955_416,
        macs=7_974_739_968, stem="stem.0", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2070, top5_error=0.0501, source=_TABLE_2),
    ),
    Entry(
        name="senet154", family="senet", year=2017, title=_TITLE, paper=_PAPER, build=senet154,
        config=SENetConfig(depths=(3, 8, 36, 3), dropout=0.2), input_size=(3, 224, 224), num_params=115_088_984,
        macs=20_688_363_520, stem="stem.0", head="fc", min_size=MIN_SIZE,
        published=Published(
            top1_error=0.1868, top5_error=0.0447, source="github.com/hujie-frank/SENet, Table 1, one crop of 224x224"
        ),
    ),
)  # fmt: skip
