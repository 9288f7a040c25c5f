"""MobileNet (Howard, Zhu, Chen et al. 2017, arXiv:1704.04861). N images, C channels, K classes.

Departures: the last depthwise convolution has stride 1, for which Table 1 prints 2, although its sizes before and after
are both 7x7. The paper does not say how weights are drawn: it is done as torchvision does for the later MobileNets.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.conv_norm import conv_norm
from striate.layers.initialization import draw_for_mobile
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""
STEM_CHANNELS = 32
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1),
)  # fmt: skip
"""Table 1: maps and stride of each depthwise separable convolution."""


@dataclass(frozen=True)
class MobileNetV1Config:
    """Channels in, classes out; every layer has `width_multiplier` times the paper's maps (section 3.3), rounded."""

    in_channels: int = 3
    num_classes: int = 1000
    width_multiplier: float = 1.0

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if not 1 / STEM_CHANNELS <= self.width_multiplier <= 8:
            raise InputError(
                f"width_multiplier must lie between 1/{STEM_CHANNELS} and 8 but is {self.width_multiplier}"
            )


class MobileNetV1(nn.Module):
    """A stem, thirteen depthwise separable convolutions, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: MobileNetV1Config) -> None:
        super().__init__()
        self.config = config
        channels = scaled(STEM_CHANNELS, config.width_multiplier)
        layers = [conv_norm(config.in_channels, channels, stride=2)]
        for width, stride in BLOCKS:
            out_channels = scaled(width, config.width_multiplier)
            layers.append(separable(channels, out_channels, stride))
            channels = out_channels
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, config.num_classes)
        draw_for_mobile(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this MobileNet")
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


def separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """A 3x3 filter for each map, then 1x1 across them (figure 3, right): -> (N, out_channels, H / stride, W /
    stride).
    """
    return nn.Sequential(
        conv_norm(in_channels, in_channels, stride=stride, groups=in_channels),
        conv_norm(in_channels, out_channels, 1),
    )


def scaled(channels: int, width_multiplier: float) -> int:
    """The number of maps that `channels` become."""
    return round(channels * width_multiplier)


_TITLE = "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
_PAPER = "arXiv:1704.04861"
_SOURCE = "arXiv:1704.04861, Table 6"

ENTRIES = (
    Entry(
        name="mobilenet_v1", family="mobilenet", year=2017, title=_TITLE, paper=_PAPER, build=MobileNetV1,
        config=MobileNetV1Config(), input_size=(3, 224, 224), num_params=4_231_976, macs=568_740_352,
        stem="features.0.0",
        head="classifier", min_size=MIN_SIZE, published=Published(top1_error=0.294, source=_SOURCE),
    ),
    Entry(
        name="mobilenet_v1_x0_75", family="mobilenet", year=2017, title=_TITLE, paper=_PAPER, build=MobileNetV1,
        config=MobileNetV1Config(width_multiplier=0.75), input_size=(3, 224, 224), num_params=2_585_560,
        macs=325_400_448,
        stem="features.0.0", head="classifier", min_size=MIN_SIZE,
        published=Published(top1_error=0.316, source=_SOURCE),
    ),
    Entry(
        name="mobilenet_v1_x0_5", family="mobilenet", year=2017, title=_TITLE, paper=_PAPER, build=MobileNetV1,
        config=MobileNetV1Config(width_multiplier=0.5), input_size=(3, 224, 224), num_params=1_331_592,
        macs=149_497_088,
        stem="features.0.0", head="classifier", min_size=MIN_SIZE,
        published=Published(top1_error=0.363, source=_SOURCE),
    ),
    Entry(
        name="mobilenet_v1_x0_25", family="mobilenet", year=2017, title=_TITLE, paper=_PAPER, build=MobileNetV1,
        config=MobileNetV1Config(width_multiplier=0.25), input_size=(3, 224, 224), num_params=470_072, macs=41_030_272,
        stem="features.0.0", head="classifier", min_size=MIN_SIZE,
        published=Published(top1_error=0.494, source=_SOURCE),
    ),
)  # fmt: skip
