"""Inception v4 (Szegedy, Ioffe, Vanhoucke & Alemi 2016, arXiv:1602.07261). N images, C channels, H x W pixels, K
classes.

Convolutions and pools that the figures mark "V" are unpadded; all others are padded to keep the size at stride 1.

Departures: where 1xn and nx1 filters follow each other, their order is that of the authors' released network; averages
leave the padding out, as there; its auxiliary head, absent from the paper, is left out. First weights, of which the
paper does not speak, are He et al.'s, small in the last layer.
"""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from striate.layers.basic_conv import BasicConv
from striate.layers.branches import Branches
from striate.layers.initialization import draw_he_normal
from striate.networks.checking import check_counts, check_depths, check_dropout, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE = (75, 75)


@dataclass(frozen=True)
class InceptionV4Config:
    """Channels in, classes out, how many A, B and C blocks (figure 9), and the share dropped before the last layer."""

    in_channels: int = 3
    num_classes: int = 1000
    depths: tuple[int, ...] = (4, 7, 3)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)
        check_depths(self.depths, num_stages=3)


class InceptionV4(nn.Module):
    """Figure 9: images (N, C, H, W) of at least 75x75 -> logits (N, K)."""

    def __init__(self, config: InceptionV4Config) -> None:
        super().__init__()
        self.config = config
        depth_a, depth_b, depth_c = config.depths
        self.features = nn.Sequential(
            OrderedDict(
                stem=stem(config.in_channels),  # (N, 384, 35, 35) from 299x299
                inception_a=nn.Sequential(*(inception_a() for _ in range(depth_a))),  # (N, 384, 35, 35)
                reduction_a=reduction_a(384, k=192, l=224, m=256, n=384),  # (N, 1024, 17, 17)
                inception_b=nn.Sequential(*(inception_b() for _ in range(depth_b))),  # (N, 1024, 17, 17)
                reduction_b=reduction_b(),  # (N, 1536, 8, 8)
                inception_c=nn.Sequential(*(inception_c() for _ in range(depth_c))),  # (N, 1536, 8, 8)
            )
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(1536, config.num_classes)
        draw_he_normal(self, heads=(self.fc,))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="inception_v4")
        return self.fc(self.dropout(self.avgpool(self.features(images)).flatten(1)))


def stem(in_channels: int) -> nn.Sequential:
    """Figure 3: (N, C, H, W) -> (N, 384, h, w), 35x35 from 299x299."""
    return nn.Sequential(
        BasicConv(in_channels, 32, 3, stride=2, is_padded=False),
        BasicConv(32, 32, 3, is_padded=False),
        BasicConv(32, 64, 3),
        Branches(nn.MaxPool2d(3, stride=2), BasicConv(64, 96, 3, stride=2, is_padded=False)),
        Branches(
            nn.Sequential(BasicConv(160, 64, 1), BasicConv(64, 96, 3, is_padded=False)),
            nn.Sequential(
                BasicConv(160, 64, 1), BasicConv(64, 64, (1, 7)), BasicConv(64, 64, (7, 1)),
                BasicConv(64, 96, 3, is_padded=False),
            ),
        ),
        Branches(BasicConv(192, 192, 3, stride=2, is_padded=False), nn.MaxPool2d(3, stride=2)),
    )  # fmt: skip


def inception_a() -> Branches:
    """Figure 4: (N, 384, H, W) -> (N, 96 + 96 + 96 + 96, H, W)."""
    return Branches(
        BasicConv(384, 96, 1),
        nn.Sequential(BasicConv(384, 64, 1), BasicConv(64, 96, 3)),
        nn.Sequential(BasicConv(384, 64, 1), BasicConv(64, 96, 3), BasicConv(96, 96, 3)),
        nn.Sequential(average_pool(), BasicConv(384, 96, 1)),
    )


def inception_b() -> Branches:
    """Figure 5: (N, 1024, H, W) -> (N, 384 + 256 + 256 + 128, H, W)."""
    return Branches(
        BasicConv(1024, 384, 1),
        nn.Sequential(BasicConv(1024, 192, 1), BasicConv(192, 224, (1, 7)), BasicConv(224, 256, (7, 1))),
        nn.Sequential(
            BasicConv(1024, 192, 1),
            BasicConv(192, 192, (7, 1)), BasicConv(192, 224, (1, 7)),
            BasicConv(224, 224, (7, 1)), BasicConv(224, 256, (1, 7)),
        ),
        nn.Sequential(average_pool(), BasicConv(1024, 128, 1)),
    )  # fmt: skip


def inception_c() -> Branches:
    """Figure 6: (N, 1536, H, W) -> (N, 256 + 512 + 512 + 256, H, W)."""
    return Branches(
        BasicConv(1536, 256, 1),
        nn.Sequential(BasicConv(1536, 384, 1), spread(384)),
        nn.Sequential(BasicConv(1536, 384, 1), BasicConv(384, 448, (3, 1)), BasicConv(448, 512, (1, 3)), spread(512)),
        nn.Sequential(average_pool(), BasicConv(1536, 256, 1)),
    )


def spread(in_channels: int) -> Branches:
    """1x3 beside 3x1: (N, C, H, W) -> (N, 256 + 256, H, W)."""
    return Branches(BasicConv(in_channels, 256, (1, 3)), BasicConv(in_channels, 256, (3, 1)))


def reduction_a(in_channels: int, *, k: int, l: int, m: int, n: int) -> Branches:  # noqa: E741
    """Figure 7 with the letters of Table 1, 35x35 to 17x17: (N, C, H, W) -> (N, n + m + C, h, w)."""
    return Branches(
        BasicConv(in_channels, n, 3, stride=2, is_padded=False),
        nn.Sequential(
            BasicConv(in_channels, k, 1), BasicConv(k, l, 3), BasicConv(l, m, 3, stride=2, is_padded=False)
        ),
        nn.MaxPool2d(3, stride=2),
    )  # fmt: skip


def reduction_b() -> Branches:
    """Figure 8, 17x17 to 8x8: (N, 1024, H, W) -> (N, 192 + 320 + 1024, h, w)."""
    return Branches(
        nn.Sequential(BasicConv(1024, 192, 1), BasicConv(192, 192, 3, stride=2, is_padded=False)),
        nn.Sequential(
            BasicConv(1024, 256, 1), BasicConv(256, 256, (1, 7)), BasicConv(256, 320, (7, 1)),
            BasicConv(320, 320, 3, stride=2, is_padded=False),
        ),
        nn.MaxPool2d(3, stride=2),
    )  # fmt: skip


def average_pool() -> nn.AvgPool2d:
    """3x3 averages that keep the size and leave the padding out."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


ENTRIES = (
    Entry(
        name="inception_v4", family="inception", year=2016,
        title="Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
        paper="arXiv:1602.07261", build=InceptionV4, config=InceptionV4Config(), input_size=(3, 299, 299),
        num_params=42_679_816, macs=12_253_974_624, stem="features.stem.0.conv", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.200, top5_error=0.050, source="arXiv:1602.07261, Table 2, one crop"),
    ),
)  # fmt: skip
