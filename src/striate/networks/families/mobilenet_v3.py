"""MobileNetV3 (Howard, Sandler, Chu et al. 2019, arXiv:1905.02244). N images, C channels, K classes.

Parameter names and initialisation are torchvision's, so that its published weights load. Departures, all of them
torchvision's: linear layers after the average, where Tables 1 and 2 have the same as 1x1 convolutions; the small
network's last 1x1 convolution before the average has no squeeze and excitation, though Table 2 ticks one; a quarter of
the expanded maps, to which squeezing leads (section 5.3), is rounded to a multiple of 8.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from striate.layers.conv_norm import conv_norm
from striate.layers.initialization import draw_for_mobile
from striate.layers.squeeze_excitation import SqueezeExcitation
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""
STEM_CHANNELS = 16
batch_norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=1e-2)
"""The paper averages with decay 0.99 (section 6.1.1); the guard against zero is the authors' code's."""


class Row(NamedTuple):
    """One block of Tables 1 and 2: filter size, expanded maps, maps out, SE, nonlinearity and stride."""

    kernel_size: int
    expanded: int
    out_channels: int
    has_squeeze: bool
    activation: type[nn.ReLU] | type[nn.Hardswish]
    stride: int


RE, HS = nn.ReLU, nn.Hardswish

LARGE = (
    Row(3, 16, 16, False, RE, 1),
    Row(3, 64, 24, False, RE, 2), Row(3, 72, 24, False, RE, 1),
    Row(5, 72, 40, True, RE, 2), Row(5, 120, 40, True, RE, 1), Row(5, 120, 40, True, RE, 1),
    Row(3, 240, 80, False, HS, 2), Row(3, 200, 80, False, HS, 1), Row(3, 184, 80, False, HS, 1),
    Row(3, 184, 80, False, HS, 1),
    Row(3, 480, 112, True, HS, 1), Row(3, 672, 112, True, HS, 1),
    Row(5, 672, 160, True, HS, 2), Row(5, 960, 160, True, HS, 1), Row(5, 960, 160, True, HS, 1),
)  # fmt: skip
"""Table 1."""

SMALL = (
    Row(3, 16, 16, True, RE, 2),
    Row(3, 72, 24, False, RE, 2), Row(3, 88, 24, False, RE, 1),
    Row(5, 96, 40, True, HS, 2), Row(5, 240, 40, True, HS, 1), Row(5, 240, 40, True, HS, 1),
    Row(5, 120, 48, True, HS, 1), Row(5, 144, 48, True, HS, 1),
    Row(5, 288, 96, True, HS, 2), Row(5, 576, 96, True, HS, 1), Row(5, 576, 96, True, HS, 1),
)  # fmt: skip
"""Table 2."""


@dataclass(frozen=True)
class MobileNetV3Config:
    """Channels in, classes out, and the share of features dropped before the last layer (section 6.1.1)."""

    in_channels: int = 3
    num_classes: int = 1000
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter depthwise, weigh the maps, project by a linear 1x1 (figure 4).

    (N, C, H, W) -> (N, out_channels, H / stride, W / stride), with a shortcut where both shapes are the same. Where
    nothing is expanded, there is no first convolution.
    """

    def __init__(self, in_channels: int, row: Row) -> None:
        super().__init__()
        wide = row.expanded
        layers: list[nn.Module] = []
        if wide != in_channels:
            layers.append(conv_norm(in_channels, wide, 1, norm=batch_norm, activation=row.activation))
        layers.append(
            conv_norm(
                wide, wide, row.kernel_size, stride=row.stride, groups=wide, norm=batch_norm, activation=row.activation
            )
        )
        if row.has_squeeze:
            layers.append(SqueezeExcitation(wide, round_to_eight(wide / 4), gate=nn.Hardsigmoid))
        layers.append(conv_norm(wide, row.out_channels, 1, norm=batch_norm, activation=None))
        self.block = nn.Sequential(*layers)
        self.has_shortcut = row.stride == 1 and in_channels == row.out_channels

    def forward(self, maps: Tensor) -> Tensor:
        """The projected maps, added to those that came where they fit."""
        return maps + self.block(maps) if self.has_shortcut else self.block(maps)


class MobileNetV3(nn.Module):
    """A stem, the blocks of a table, global average, two linear layers: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: MobileNetV3Config, rows: tuple[Row, ...], hidden_features: int) -> None:
        super().__init__()
        self.config = config
        channels = STEM_CHANNELS
        layers: list[nn.Module] = [conv_norm(config.in_channels, channels, stride=2, norm=batch_norm, activation=HS)]
        for row in rows:
            layers.append(InvertedResidual(channels, row))
            channels = row.out_channels
        layers.append(conv_norm(channels, 6 * channels, 1, norm=batch_norm, activation=HS))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, hidden_features),
            nn.Hardswish(),
            nn.Dropout(config.dropout),
            nn.Linear(hidden_features, config.num_classes),
        )
        draw_for_mobile(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this MobileNetV3")
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


def mobilenet_v3_large(config: MobileNetV3Config) -> MobileNetV3:
    """Table 1."""
    return MobileNetV3(config, LARGE, hidden_features=1280)


def mobilenet_v3_small(config: MobileNetV3Config) -> MobileNetV3:
    """Table 2."""
    return MobileNetV3(config, SMALL, hidden_features=1024)


def round_to_eight(channels: float) -> int:
    """The multiple of 8 that is nearest, the larger of two, but the next one up if that takes away over a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


_TITLE = "Searching for MobileNetV3"
_PAPER = "arXiv:1905.02244"

ENTRIES = (
    Entry(
        name="mobilenet_v3_large", family="mobilenet", year=2019, title=_TITLE, paper=_PAPER,
        build=mobilenet_v3_large, config=MobileNetV3Config(), input_size=(3, 224, 224), num_params=5_483_032,
        macs=216_589_760,
        stem="features.0.0", head="classifier.3", min_size=MIN_SIZE,
        published=Published(top1_error=0.248, source="arXiv:1905.02244, Table 3"),
        weights=(
            imagenet_weights("mobilenet_v3_large-8738ca79.pth", size_mib=21.114, top1=0.74042, top5=0.91340),
            imagenet_weights(
                "mobilenet_v3_large-5c1a4163.pth", size_mib=21.107, top1=0.75274, top5=0.92566, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
    Entry(
        name="mobilenet_v3_small", family="mobilenet", year=2019, title=_TITLE, paper=_PAPER,
        build=mobilenet_v3_small, config=MobileNetV3Config(), input_size=(3, 224, 224), num_params=2_542_856,
        macs=56_510_400,
        stem="features.0.0", head="classifier.3", min_size=MIN_SIZE,
        published=Published(top1_error=0.326, source="arXiv:1905.02244, Table 3"),
        weights=(imagenet_weights("mobilenet_v3_small-047dcff4.pth", size_mib=9.829, top1=0.67668, top5=0.87402),),
    ),
)  # fmt: skip
