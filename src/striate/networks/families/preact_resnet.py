"""Pre-activation residual networks (He, Zhang, Ren & Sun 2016, arXiv:1603.05027). N images, C channels, K classes.

The first activation comes right after the stem and serves both paths of the first unit; one more follows the last sum
(the paper's appendix). Bottlenecks have their stride in the first 1x1 convolution and projections start from the
activated maps, as in the authors' published code for CIFAR. Departures: the paper does not say where the stride is in
its ResNet-200 for ImageNet, which is built likewise; `preact_resnet18_cifar` is no network of the paper: it is
ResNet-18 with pre-activation, a 3x3 stem and no first pooling, as is widespread for 32x32 images, and unlike in many
copies its last sum is activated too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.preactivation import PreActUnit, preact_basic, preact_bottleneck, preactivation
from striate.layers.residual import conv1x1, conv3x3, draw_weights, make_stage, pad_shortcut
from striate.networks.checking import check_counts, check_depths, check_images
from striate.networks.entry import Entry, Published

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""
MakeUnit = Callable[[int, int, int], PreActUnit]
"""Takes channels in, channels out and stride."""


@dataclass(frozen=True)
class PreActResNetConfig:
    """For large images: how many bottlenecks in each of the four stages."""

    in_channels: int = 3
    num_classes: int = 1000
    depths: tuple[int, ...] = (3, 24, 36, 3)

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_depths(self.depths, num_stages=4)


@dataclass(frozen=True)
class CifarPreActResNetConfig:
    """For 32x32 images: `depths[i]` units that give `widths[i]` maps in stage i.

    Units are "padded" (two 3x3 convolutions, zeros where shapes change), "basic" (the same with projections) or
    "bottleneck" (with projections). The stem gives as many maps as the first unit has inside.
    """

    in_channels: int = 3
    num_classes: int = 10
    unit: Literal["padded", "basic", "bottleneck"] = "padded"
    depths: tuple[int, ...] = (18, 18, 18)
    widths: tuple[int, ...] = (16, 32, 64)

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.unit not in ("padded", "basic", "bottleneck"):
            raise InputError(f"unit must be 'padded', 'basic' or 'bottleneck' but is {self.unit!r}")
        if not self.depths or len(self.depths) != len(self.widths) or min(*self.depths, *self.widths) < 1:
            raise InputError(f"depths {self.depths} and widths {self.widths} must pair up, each at least 1")
        if self.unit == "padded" and list(self.widths) != sorted(self.widths):
            raise InputError(f"a shortcut that pads cannot lose maps, so widths must not fall but are {self.widths}")
        if self.unit == "bottleneck" and any(width % 4 for width in self.widths):
            raise InputError(f"bottlenecks have a quarter of the maps inside; {self.widths} do not divide by 4")


class PreActResNet(nn.Module):
    """Stem, stages of units, the last activation, global average: images (N, C, H, W) -> logits (N, K).

    Stage i has `depths[i]` units and gives `widths[i]` maps.
    """

    def __init__(
        self,
        conv1: nn.Conv2d,
        maxpool: nn.Module,
        make_unit: MakeUnit,
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        num_classes: int,
    ) -> None:
        super().__init__()
        self.in_channels = conv1.in_channels
        self.num_stages = len(depths)
        self.conv1 = conv1
        self.bn1 = nn.BatchNorm2d(conv1.out_channels)
        self.relu1 = nn.ReLU()
        self.maxpool = maxpool
        ins = (conv1.out_channels, *widths)
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            units = make_stage(make_unit, ins[stage], width, depth, 1 if stage == 0 else 2)
            if stage == 0:
                units[0].activation = nn.Identity()  # the stem's activation is that of the first unit
            self.add_module(f"layer{stage + 1}", units)
        self.activation = preactivation(widths[-1])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.in_channels, MIN_SIZE, network="this pre-activation ResNet")
        maps = self.maxpool(self.relu1(self.bn1(self.conv1(images))))
        for number in range(1, self.num_stages + 1):
            maps = self.get_submodule(f"layer{number}")(maps)
        return self.fc(self.avgpool(self.activation(maps)).flatten(1))


def preact_resnet(config: PreActResNetConfig) -> PreActResNet:
    """With the 7x7 stem and the pooling of the networks before (arXiv:1512.03385, Table 1)."""
    conv1 = nn.Conv2d(config.in_channels, 64, 7, stride=2, padding=3, bias=False)
    maxpool = nn.MaxPool2d(3, stride=2, padding=1)
    return PreActResNet(conv1, maxpool, bottleneck_unit, config.depths, (256, 512, 1024, 2048), config.num_classes)


def cifar_preact_resnet(config: CifarPreActResNetConfig) -> PreActResNet:
    """With a 3x3 stem and no pooling."""
    make_unit = {"padded": padded_unit, "basic": basic_unit, "bottleneck": bottleneck_unit}[config.unit]
    width = config.widths[0] // 4 if config.unit == "bottleneck" else config.widths[0]
    conv1 = conv3x3(config.in_channels, width)
    return PreActResNet(conv1, nn.Identity(), make_unit, config.depths, config.widths, config.num_classes)


def padded_unit(in_channels: int, out_channels: int, stride: int) -> PreActUnit:
    """Two 3x3 convolutions; zeros beside every second pixel of the maps as they come where shapes change."""
    return PreActUnit(
        preactivation(in_channels),
        preact_basic(in_channels, out_channels, stride),
        pad_shortcut(in_channels, out_channels, stride),
        shares_activation=False,
    )


def basic_unit(in_channels: int, out_channels: int, stride: int) -> PreActUnit:
    """Two 3x3 convolutions; a projection of the activated maps where shapes change."""
    changes_shape = in_channels != out_channels or stride != 1
    return PreActUnit(
        preactivation(in_channels),
        preact_basic(in_channels, out_channels, stride),
        conv1x1(in_channels, out_channels, stride) if changes_shape else None,
        shares_activation=changes_shape,
    )


def bottleneck_unit(in_channels: int, out_channels: int, stride: int) -> PreActUnit:
    """1x1, 3x3, 1x1; a projection of the activated maps where shapes change."""
    changes_shape = in_channels != out_channels or stride != 1
    return PreActUnit(
        preactivation(in_channels),
        preact_bottleneck(in_channels, out_channels, stride),
        conv1x1(in_channels, out_channels, stride) if changes_shape else None,
        shares_activation=changes_shape,
    )


_TITLE = "Identity Mappings in Deep Residual Networks"
_PAPER = "arXiv:1603.05027"

ENTRIES = (
    Entry(
        name="preact_resnet110_cifar", family="preact_resnet", year=2016, title=_TITLE, paper=_PAPER,
        build=cifar_preact_resnet, config=CifarPreActResNetConfig(), input_size=(3, 32, 32),
        num_params=1_727_962, macs=252_887_680, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.0637, source="arXiv:1603.05027, Table 3, median of five runs"),
    ),
    Entry(
        name="preact_resnet164_cifar", family="preact_resnet", year=2016, title=_TITLE, paper=_PAPER,
        build=cifar_preact_resnet, config=CifarPreActResNetConfig(unit="bottleneck", widths=(64, 128, 256)),
        input_size=(3, 32, 32), num_params=1_703_258, macs=244_500_992, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.0546, source="arXiv:1603.05027, Table 3, median of five runs"),
    ),
    Entry(
        name="preact_resnet1001_cifar", family="preact_resnet", year=2016, title=_TITLE, paper=_PAPER,
        build=cifar_preact_resnet,
        config=CifarPreActResNetConfig(unit="bottleneck", depths=(111, 111, 111), widths=(64, 128, 256)),
        input_size=(3, 32, 32), num_params=10_327_706, macs=1_487_849_984, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(
            top1_error=0.0492, source="arXiv:1603.05027, Table 3, median of five runs; 4.62 % with batches of 64"
        ),
    ),
    Entry(
        name="preact_resnet200", family="preact_resnet", year=2016, title=_TITLE, paper=_PAPER,
        build=preact_resnet, config=PreActResNetConfig(), input_size=(3, 224, 224),
        num_params=64_666_152, macs=14_776_270_848, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(
            top1_error=0.207, top5_error=0.053, source="arXiv:1603.05027, Table 5, one crop of 320x320, scale "
                "augmentation"
        ),
    ),
    Entry(
        name="preact_resnet18_cifar", family="preact_resnet", year=2016, title=f"{_TITLE} (not one of the paper's)",
        paper=_PAPER, build=cifar_preact_resnet,
        config=CifarPreActResNetConfig(unit="basic", depths=(2, 2, 2, 2), widths=(64, 128, 256, 512)),
        input_size=(3, 32, 32), num_params=11_172_170, macs=555_422_720, stem="conv1", head="fc", min_size=MIN_SIZE,
    ),
)  # fmt: skip
