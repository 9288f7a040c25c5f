"""Inception with batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167, appendix, figure 5), known as Inception v2.

N images, C channels, H x W pixels, K classes.

Departures: the first convolution is a plain 7x7, where the paper's is separable with eight filters a channel, so that
its input channels can be adapted like any other's. Modules 4c and 4d project 96 maps after their pooling, not the 128
of figure 5, since only these add up to the 576 maps that it prints; the authors' released code has them too. Figure 5
leaves open how pooling treats the border: here everything is padded by one, so that branches meet in size whatever the
image, and averages leave the padding out. First weights, of which the paper does not speak, are He et al.'s, small in
the last layer. The paper's 13.6 million parameters do not follow from its figure 5, which makes 11.2.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor, nn

from striate.layers.basic_conv import BasicConv
from striate.layers.branches import Branches
from striate.layers.initialization import draw_he_normal
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""


@dataclass(frozen=True)
class InceptionV2Config:
    """Channels in, classes out; everything else is the paper's."""

    in_channels: int = 3
    num_classes: int = 1000

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


class Row(NamedTuple):
    """One row of figure 5: filters of each kind, the kind of pooling, and how many maps it is projected to."""

    conv1x1: int
    reduce3x3: int
    conv3x3: int
    reduce_double: int
    double3x3: int
    pool: Literal["average", "max"]
    projection: int

    @property
    def out_channels(self) -> int:
        """Number of output channels."""
        return self.conv1x1 + self.conv3x3 + self.double3x3 + self.projection


class ReducingRow(NamedTuple):
    """A row of figure 5 with stride 2, whose pooled maps pass through as they are."""

    reduce3x3: int
    conv3x3: int
    reduce_double: int
    double3x3: int


FIGURE_5: dict[str, Row | ReducingRow] = {
    "3a": Row(64, 64, 64, 64, 96, "average", 32),
    "3b": Row(64, 64, 96, 64, 96, "average", 64),
    "3c": ReducingRow(128, 160, 64, 96),
    "4a": Row(224, 64, 96, 96, 128, "average", 128),
    "4b": Row(192, 96, 128, 96, 128, "average", 128),
    "4c": Row(160, 128, 160, 128, 160, "average", 96),
    "4d": Row(96, 128, 192, 160, 192, "average", 96),
    "4e": ReducingRow(128, 192, 192, 256),
    "5a": Row(352, 192, 320, 160, 224, "average", 128),
    "5b": Row(352, 192, 320, 192, 224, "max", 128),
}


def mixed(in_channels: int, row: Row) -> Branches:
    """1x1, 3x3, 3x3 twice and a pooling side by side: (N, C, H, W) -> (N, row.out_channels, H, W)."""
    return Branches(
        BasicConv(in_channels, row.conv1x1, 1),
        nn.Sequential(BasicConv(in_channels, row.reduce3x3, 1), BasicConv(row.reduce3x3, row.conv3x3, 3)),
        nn.Sequential(
            BasicConv(in_channels, row.reduce_double, 1),
            BasicConv(row.reduce_double, row.double3x3, 3),
            BasicConv(row.double3x3, row.double3x3, 3),
        ),
        nn.Sequential(
            nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
            if row.pool == "average"
            else nn.MaxPool2d(3, stride=1, padding=1),
            BasicConv(in_channels, row.projection, 1),
        ),
    )


def reducing(in_channels: int, row: ReducingRow) -> Branches:
    """The same at every second place: (N, C, H, W) -> (N, conv3x3 + double3x3 + C, H / 2, W / 2), rounded up."""
    return Branches(
        nn.Sequential(BasicConv(in_channels, row.reduce3x3, 1), BasicConv(row.reduce3x3, row.conv3x3, 3, stride=2)),
        nn.Sequential(
            BasicConv(in_channels, row.reduce_double, 1),
            BasicConv(row.reduce_double, row.double3x3, 3),
            BasicConv(row.double3x3, row.double3x3, 3, stride=2),
        ),
        halving_pool(),
    )


def halving_pool() -> nn.MaxPool2d:
    """3x3 maxima at every second place, padded."""
    return nn.MaxPool2d(3, stride=2, padding=1)


class InceptionV2(nn.Module):
    """Figure 5: images (N, C, H, W) of any size -> logits (N, K). Training needs two images where one place is left."""

    def __init__(self, config: InceptionV2Config) -> None:
        super().__init__()
        self.config = config
        self.conv1 = BasicConv(config.in_channels, 64, 7, stride=2)
        self.maxpool1 = halving_pool()
        self.conv2 = BasicConv(64, 64, 1)
        self.conv3 = BasicConv(64, 192, 3)
        self.maxpool2 = halving_pool()
        in_channels = 192
        for name, row in FIGURE_5.items():
            if isinstance(row, Row):
                self.add_module(f"inception{name}", mixed(in_channels, row))
                in_channels = row.out_channels
            else:
                self.add_module(f"inception{name}", reducing(in_channels, row))
                in_channels += row.conv3x3 + row.double3x3
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(in_channels, config.num_classes)
        draw_he_normal(self, heads=(self.fc,))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="inception_v2")
        maps = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(images)))))
        for name in FIGURE_5:
            maps = self.get_submodule(f"inception{name}")(maps)
        return self.fc(self.avgpool(maps).flatten(1))


ENTRIES = (
    Entry(
        name="inception_v2", family="inception", year=2015,
        title="Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        paper="arXiv:1502.03167", build=InceptionV2, config=InceptionV2Config(), input_size=(3, 224, 224),
        num_params=11_194_984, macs=2_018_851_840, stem="conv1.conv", head="fc", min_size=MIN_SIZE,
        published=Published(
            top1_error=0.252, top5_error=0.0782, source="arXiv:1502.03167, figure 4, one network, one crop"
        ),
    ),
)  # fmt: skip
