"""MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov & Chen 2018, arXiv:1801.04381). N images, C channels, K classes.

Parameter names and initialisation are torchvision's, so that its published weights load. Departures: a linear last
layer after the average, where Table 2 has the same as a 1x1 convolution, and dropout of a fifth before it, which the
authors' code has and the paper does not say. `mobilenet_v2_cifar` is no network of the paper: it is the same with
stride 1 in the stem and in the stage of 24 maps, as is usual for 32x32 images.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.layers.conv_norm import conv_norm
from striate.layers.initialization import draw_for_mobile
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""
STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""Table 2: the expansion t, the maps c and the blocks n of every stage."""
STRIDES = (2, 1, 2, 2, 2, 1, 2, 1)
"""Table 2: those of the stem and of each stage's first block."""
CIFAR_STRIDES = (1, 1, 1, 2, 2, 1, 2, 1)


@dataclass(frozen=True)
class MobileNetV2Config:
    """Channels in, classes out, and the share of features dropped before the last layer."""

    in_channels: int = 3
    num_classes: int = 1000
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter by depthwise 3x3, project by a linear 1x1 (Table 1, figure 4).

    (N, C, H, W) -> (N, out_channels, H / stride, W / stride), with a shortcut where both shapes are the same. Where
    nothing is expanded, there is no first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        expand = [conv_norm(in_channels, hidden, 1, activation=nn.ReLU6)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *expand,
            conv_norm(hidden, hidden, stride=stride, groups=hidden, activation=nn.ReLU6),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, maps: Tensor) -> Tensor:
        """The projected maps, added to those that came where they fit."""
        return maps + self.conv(maps) if self.has_shortcut else self.conv(maps)


class MobileNetV2(nn.Module):
    """A stem, seven stages, 1280 maps and their averages: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: MobileNetV2Config, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        channels = 32
        layers: list[nn.Module] = [conv_norm(config.in_channels, channels, stride=strides[0], activation=nn.ReLU6)]
        for (expansion, width, depth), first_stride in zip(STAGES, strides[1:], strict=True):
            for stride in (first_stride, *[1] * (depth - 1)):
                layers.append(InvertedResidual(channels, width, stride, expansion))
                channels = width
        layers.append(conv_norm(channels, 1280, 1, activation=nn.ReLU6))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(1280, config.num_classes))
        draw_for_mobile(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this MobileNetV2")
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


def mobilenet_v2(config: MobileNetV2Config) -> MobileNetV2:
    """Table 2: 224x224 pixels become 7x7."""
    return MobileNetV2(config, STRIDES)


def mobilenet_v2_cifar(config: MobileNetV2Config) -> MobileNetV2:
    """32x32 pixels become 4x4."""
    return MobileNetV2(config, CIFAR_STRIDES)


_TITLE = "MobileNetV2: Inverted Residuals and Linear Bottlenecks"
_PAPER = "arXiv:1801.04381"

ENTRIES = (
    Entry(
        name="mobilenet_v2", family="mobilenet", year=2018, title=_TITLE, paper=_PAPER, build=mobilenet_v2,
        config=MobileNetV2Config(), input_size=(3, 224, 224), num_params=3_504_872, macs=300_774_272,
        stem="features.0.0",
        head="classifier.1", min_size=MIN_SIZE,
        published=Published(top1_error=0.280, source="arXiv:1801.04381, Table 4"),
        weights=(
            imagenet_weights("mobilenet_v2-b0353104.pth", size_mib=13.555, top1=0.71878, top5=0.90286),
            imagenet_weights(
                "mobilenet_v2-7ebf99e0.pth", size_mib=13.598, top1=0.72154, top5=0.90822, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
    Entry(
        name="mobilenet_v2_cifar", family="mobilenet", year=2018, title=_TITLE, paper=_PAPER,
        build=mobilenet_v2_cifar, config=MobileNetV2Config(num_classes=10), input_size=(3, 32, 32),
        num_params=2_236_682,
        macs=87_976_448, stem="features.0.0", head="classifier.1", min_size=MIN_SIZE,
    ),
)  # fmt: skip
