"""Xception, an Inception taken to its extreme (Chollet 2016, arXiv:1610.02357). N images, C channels, K classes.

Every convolution after the stem sees either one map at a time or one pixel at a time. Departures: the paper leaves open
how strided pooling treats the border; here it is padded by one on each side. First weights, of which the paper does
not speak, are He et al.'s, small in the last layer; the norms' constants are PyTorch's.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.initialization import draw_he_normal
from striate.networks.checking import check_counts, check_dropout, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE = (7, 7)


@dataclass(frozen=True)
class XceptionConfig:
    """Channels in, classes out, how many blocks the middle flow has, and the share dropped before the last layer."""

    in_channels: int = 3
    num_classes: int = 1000
    middle_depth: int = 8
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)
        if self.middle_depth < 0:
            raise InputError(f"middle_depth must be at least 0 but is {self.middle_depth}")


class SeparableConv(nn.Module):
    """3x3 on each map alone, then 1x1 across maps, nothing between (section 4.7): (N, C, H, W) -> (N, out_channels, H,
    W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H, W)."""
        return self.pointwise(self.depthwise(maps))


class Block(nn.Module):
    """Separable convolutions beside a shortcut, neither rectified after (figure 5): (N, C, H, W) -> (N, widths[-1], h,
    w).

    Of stride 1 the shortcut is the maps themselves and h x w is H x W; of stride 2 it is a 1x1 convolution, and both
    sides are halved, rounded up.
    """

    def __init__(
        self, in_channels: int, widths: tuple[int, ...], stride: int, *, starts_with_relu: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((in_channels, *widths), widths, strict=False):
            layers += [nn.ReLU(), SeparableConv(before, width), nn.BatchNorm2d(width)]
        if not starts_with_relu:
            layers = layers[1:]
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride, padding=1))
        self.body = nn.Sequential(*layers)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(in_channels, widths[-1], 1, stride, bias=False), nn.BatchNorm2d(widths[-1]))
            if stride > 1
            else None
        )

    def forward(self, maps: Tensor) -> Tensor:
        """The body's maps plus the shortcut's."""
        return self.body(maps) + (maps if self.shortcut is None else self.shortcut(maps))


class Xception(nn.Module):
    """Entry, middle and exit flow (figure 5): images (N, C, H, W) of at least 7x7 -> logits (N, K).

    Training needs two images or more where the last maps have one place.
    """

    def __init__(self, config: XceptionConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(config.in_channels, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.relu2 = nn.ReLU()
        self.entry = nn.Sequential(
            Block(64, (128, 128), 2, starts_with_relu=False), Block(128, (256, 256), 2), Block(256, (728, 728), 2)
        )
        self.middle = nn.Sequential(*(Block(728, (728, 728, 728), 1) for _ in range(config.middle_depth)))
        self.exit = Block(728, (728, 1024), 2)
        self.conv3 = SeparableConv(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.relu3 = nn.ReLU()
        self.conv4 = SeparableConv(1536, 2048)
        self.bn4 = nn.BatchNorm2d(2048)
        self.relu4 = nn.ReLU()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(2048, config.num_classes)
        draw_he_normal(self, heads=(self.fc,))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="xception")
        maps = self.relu1(self.bn1(self.conv1(images)))
        maps = self.relu2(self.bn2(self.conv2(maps)))  # (N, 64, 147, 147) from 299x299
        maps = self.exit(self.middle(self.entry(maps)))  # (N, 1024, 10, 10)
        maps = self.relu3(self.bn3(self.conv3(maps)))
        maps = self.relu4(self.bn4(self.conv4(maps)))  # (N, 2048, 10, 10)
        return self.fc(self.dropout(self.avgpool(maps).flatten(1)))


ENTRIES = (
    Entry(
        name="xception", family="xception", year=2016,
        title="Xception: Deep Learning with Depthwise Separable Convolutions", paper="arXiv:1610.02357",
        build=Xception, config=XceptionConfig(), input_size=(3, 299, 299), num_params=22_855_952, macs=8_357_403_496,
        stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.210, top5_error=0.055, source="arXiv:1610.02357, Table 1, one crop"),
    ),
)  # fmt: skip
