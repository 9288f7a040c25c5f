"""Inception-ResNet v1 and v2 (Szegedy, Ioffe, Vanhoucke & Alemi 2016, arXiv:1602.07261).

N images, C channels, H x W pixels, K classes. What the branches of a block make of the maps is projected to as many
maps by a 1x1 convolution with bias, neither normalised nor rectified, scaled down (section 3.3) and added to the maps.

`inception_resnet_v1` is the paper's (figures 10 to 15). The paper says of the scales only that they lie between 0.1 and
0.3; here they are those of v2.

`inception_resnet_v2` is the authors' released network, which is not the one of the paper's figures 16 to 19. Departures
from these: the stem is v3's, ending in an inception block of 320 maps, instead of figure 3; 10, 20 and 10 blocks
instead of 5, 10 and 5, on 320, 1088 and 2080 maps instead of 384, 1154 and 2048; residuals are scaled by 0.17, 0.10 and
0.20, the last neither scaled nor rectified; a 1x1 convolution to 1536 maps comes before the average. Its auxiliary
head, absent from the paper, is left out.

First weights, of which the paper does not speak, are He et al.'s, small in the last layer.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from striate.layers.basic_conv import BasicConv
from striate.layers.branches import Branches
from striate.layers.initialization import draw_he_normal
from striate.networks.checking import check_counts, check_depths, check_dropout, check_images
from striate.networks.entry import Entry, Published
from striate.networks.families.inception_v4 import average_pool, reduction_a

MIN_SIZE = (75, 75)
SCALE_A, SCALE_B, SCALE_C = 0.17, 0.10, 0.20


@dataclass(frozen=True)
class InceptionResNetConfig:
    """Channels in, classes out, how many A, B and C blocks (figure 15), and the share dropped before the last layer."""

    in_channels: int = 3
    num_classes: int = 1000
    depths: tuple[int, ...] = (5, 10, 5)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)
        check_depths(self.depths, num_stages=3)


class ScaledResidual(nn.Module):
    """The maps plus `scale` times what `branches` and a linear 1x1 make of them (figure 20): shape unchanged."""

    def __init__(
        self, channels: int, branches: Branches, branch_channels: int, scale: float, is_rectified: bool
    ) -> None:
        super().__init__()
        self.branches = branches
        self.project = nn.Conv2d(branch_channels, channels, 1)
        self.scale = scale
        self.relu = nn.ReLU() if is_rectified else None

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        maps = maps + self.scale * self.project(self.branches(maps))
        return maps if self.relu is None else self.relu(maps)

    def extra_repr(self) -> str:
        """The scale, shown when the network is printed."""
        return f"scale={self.scale:g}"


class InceptionResNet(nn.Module):
    """Any `features` ending in `num_features` maps, their averages, a linear layer: images (N, C, H, W) -> logits (N,
    K).
    """

    def __init__(self, config: InceptionResNetConfig, features: nn.Sequential, num_features: int) -> None:
        super().__init__()
        self.config = config
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(num_features, config.num_classes)
        draw_he_normal(self, heads=(self.fc,))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of at least 75x75 -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this Inception-ResNet")
        return self.fc(self.dropout(self.avgpool(self.features(images)).flatten(1)))


def inception_resnet_v1(config: InceptionResNetConfig) -> InceptionResNet:
    """Figure 15 with the blocks of figures 10 to 14 and Table 1."""
    depth_a, depth_b, depth_c = config.depths
    features = OrderedDict(
        stem=nn.Sequential(*stem(config.in_channels), BasicConv(192, 256, 3, stride=2, is_padded=False)),  # 35x35
        residual_a=nn.Sequential(*(residual_a(256, 32, 32) for _ in range(depth_a))),
        reduction_a=reduction_a(256, k=192, l=192, m=256, n=384),  # (N, 896, 17, 17)
        residual_b=nn.Sequential(*(residual_b(896, 128, (128, 128, 128)) for _ in range(depth_b))),
        reduction_b=reduction_b(896, 256, (256, 256)),  # (N, 1792, 8, 8)
        residual_c=nn.Sequential(*(residual_c(1792, 192, (192, 192, 192)) for _ in range(depth_c))),
    )
    return InceptionResNet(config, nn.Sequential(features), 1792)


def inception_resnet_v2(config: InceptionResNetConfig) -> InceptionResNet:
    """The authors' released network."""
    depth_a, depth_b, depth_c = config.depths
    features = OrderedDict(
        stem=nn.Sequential(*stem(config.in_channels), nn.MaxPool2d(3, stride=2), mixed()),  # (N, 320, 35, 35)
        residual_a=nn.Sequential(*(residual_a(320, 48, 64) for _ in range(depth_a))),
        reduction_a=reduction_a(320, k=256, l=256, m=384, n=384),  # (N, 1088, 17, 17)
        residual_b=nn.Sequential(*(residual_b(1088, 192, (128, 160, 192)) for _ in range(depth_b))),
        reduction_b=reduction_b(1088, 288, (288, 320)),  # (N, 2080, 8, 8)
        residual_c=nn.Sequential(
            *(residual_c(2080, 192, (192, 224, 256), is_last=number == depth_c) for number in range(1, depth_c + 1))
        ),
        last=BasicConv(2080, 1536, 1),
    )
    return InceptionResNet(config, nn.Sequential(features), 1536)


def stem(in_channels: int) -> list[nn.Module]:
    """What both begin with (figure 14 but for its last convolution): (N, C, H, W) -> (N, 192, h, w), 71x71 from
    299x299.
    """
    return [
        BasicConv(in_channels, 32, 3, stride=2, is_padded=False),
        BasicConv(32, 32, 3, is_padded=False),
        BasicConv(32, 64, 3),
        nn.MaxPool2d(3, stride=2),
        BasicConv(64, 80, 1),
        BasicConv(80, 192, 3, is_padded=False),
    ]


def mixed() -> Branches:
    """v2's inception block before the first residual one: (N, 192, H, W) -> (N, 96 + 64 + 96 + 64, H, W)."""
    return Branches(
        BasicConv(192, 96, 1),
        nn.Sequential(BasicConv(192, 48, 1), BasicConv(48, 64, 5)),
        nn.Sequential(BasicConv(192, 64, 1), BasicConv(64, 96, 3), BasicConv(96, 96, 3)),
        nn.Sequential(average_pool(), BasicConv(192, 64, 1)),
    )


def residual_a(channels: int, middle: int, last: int) -> ScaledResidual:
    """Figures 10 and 16, at 35x35: 1x1, 3x3, and 3x3 twice with `middle` and `last` filters."""
    branches = Branches(
        BasicConv(channels, 32, 1),
        nn.Sequential(BasicConv(channels, 32, 1), BasicConv(32, 32, 3)),
        nn.Sequential(BasicConv(channels, 32, 1), BasicConv(32, middle, 3), BasicConv(middle, last, 3)),
    )
    return ScaledResidual(channels, branches, 32 + 32 + last, SCALE_A, is_rectified=True)


def residual_b(channels: int, plain: int, crossed: tuple[int, int, int]) -> ScaledResidual:
    """Figures 11 and 17, at 17x17: `plain` 1x1 filters beside 7x7 as 1x7 and 7x1."""
    return ScaledResidual(channels, plain_and_crossed(channels, plain, crossed, 7), plain + crossed[-1], SCALE_B, True)


def residual_c(channels: int, plain: int, crossed: tuple[int, int, int], *, is_last: bool = False) -> ScaledResidual:
    """Figures 13 and 19, at 8x8: `plain` 1x1 filters beside 3x3 as 1x3 and 3x1; neither scaled nor rectified if
    last.
    """
    branches = plain_and_crossed(channels, plain, crossed, 3)
    scale = 1.0 if is_last else SCALE_C
    return ScaledResidual(channels, branches, plain + crossed[-1], scale, is_rectified=not is_last)


def plain_and_crossed(channels: int, plain: int, crossed: tuple[int, int, int], length: int) -> Branches:
    """1x1 beside 1x1, 1 x length, length x 1: (N, channels, H, W) -> (N, plain + crossed[-1], H, W)."""
    first, second, third = crossed
    return Branches(
        BasicConv(channels, plain, 1),
        nn.Sequential(
            BasicConv(channels, first, 1), BasicConv(first, second, (1, length)), BasicConv(second, third, (length, 1))
        ),
    )


def reduction_b(channels: int, single: int, double: tuple[int, int]) -> Branches:
    """Figures 12 and 18, 17x17 to 8x8: (N, C, H, W) -> (N, 384 + single + double[-1] + C, h, w)."""
    first, second = double
    return Branches(
        nn.Sequential(BasicConv(channels, 256, 1), BasicConv(256, 384, 3, stride=2, is_padded=False)),
        nn.Sequential(BasicConv(channels, 256, 1), BasicConv(256, single, 3, stride=2, is_padded=False)),
        nn.Sequential(
            BasicConv(channels, 256, 1),
            BasicConv(256, first, 3),
            BasicConv(first, second, 3, stride=2, is_padded=False),
        ),
        nn.MaxPool2d(3, stride=2),
    )


_TITLE = "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning"
_PAPER = "arXiv:1602.07261"

ENTRIES = (
    Entry(
        name="inception_resnet_v1", family="inception", year=2016, title=_TITLE, paper=_PAPER,
        build=inception_resnet_v1, config=InceptionResNetConfig(), input_size=(3, 299, 299), num_params=22_756_328,
        macs=6_206_361_696, stem="features.stem.0.conv", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.213, top5_error=0.055, source="arXiv:1602.07261, Table 2, one crop"),
    ),
    Entry(
        name="inception_resnet_v2", family="inception", year=2016, title=_TITLE, paper=_PAPER,
        build=inception_resnet_v2, config=InceptionResNetConfig(depths=(10, 20, 10)), input_size=(3, 299, 299),
        num_params=55_843_464, macs=13_155_794_016, stem="features.stem.0.conv", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.199, top5_error=0.049, source="arXiv:1602.07261, Table 2, one crop"),
    ),
)  # fmt: skip
