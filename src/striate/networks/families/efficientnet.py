"""EfficientNets B0 to B7 (Tan & Le 2019, arXiv:1905.11946). N images, C channels, H x W pixels, K classes.

Parameter names are torchvision's, so that its published weights load, and so is the initialisation but for the head,
which starts small whatever the number of classes, so that training starts from even odds. Departures, all of them
torchvision's: convolutions are padded alike on both sides, where the authors' TensorFlow pads even sizes more below
and to the right; batch norms of B0 to B4 have PyTorch's constants, those of B5 to B7 the authors' (`norm_tiny`,
`norm_momentum`). Whole blocks are left out in training with a probability that rises with depth, image by image, as
the authors' code does. B1 to B7 are scaled by the authors' rounded factors, which `compound_scaling` gives only
nearly.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.drop_path import DropPath
from striate.layers.squeeze_excitation import SqueezeExcitation
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights
from striate.networks.widths import round_width

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""
DEPTH_BASE, WIDTH_BASE, RESOLUTION_BASE = 1.2, 1.1, 1.15
"""alpha, beta and gamma of section 3.3, found by a grid search: alpha * beta**2 * gamma**2 is about 2."""
STEM_WIDTH = 32
HEAD_FACTOR = 4
"""The last convolution has this many times the maps of the last stage: 1280 of 320."""
HEAD_STD = 0.01


class Scaling(NamedTuple):
    """Scaling of depth, width and image size relative to B0."""

    depth: float
    width: float
    resolution: float


class Stage(NamedTuple):
    """A row of Table 1: `depth` blocks, the first with the stride, to `width` maps, `expansion` times more inside."""

    expansion: int
    kernel_size: int
    stride: int
    width: int
    depth: int


STAGES = (
    Stage(expansion=1, kernel_size=3, stride=1, width=16, depth=1),
    Stage(expansion=6, kernel_size=3, stride=2, width=24, depth=2),
    Stage(expansion=6, kernel_size=5, stride=2, width=40, depth=2),
    Stage(expansion=6, kernel_size=3, stride=2, width=80, depth=3),
    Stage(expansion=6, kernel_size=5, stride=1, width=112, depth=3),
    Stage(expansion=6, kernel_size=5, stride=2, width=192, depth=4),
    Stage(expansion=6, kernel_size=3, stride=1, width=320, depth=1),
)
"""Stages 2 to 8 of B0 (Table 1)."""


@dataclass(frozen=True)
class EfficientNetConfig:
    """Channels in, classes out, how many times wider and deeper than B0, and what training leaves out.

    `drop_path` is the probability of losing a whole block that the last one nearly reaches; `norm_tiny` and
    `norm_momentum` are the constants of the batch norms.
    """

    in_channels: int = 3
    num_classes: int = 1000
    width: float = 1.0
    depth: float = 1.0
    dropout: float = 0.2
    drop_path: float = 0.2
    norm_tiny: float = 1e-5
    norm_momentum: float = 0.1

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        for name in ("width", "depth"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be a finite factor above 0 but is {getattr(self, name)!r}")
        for name in ("dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be a probability below 1 but is {getattr(self, name)!r}")


class ConvNormSiLU(nn.Sequential):
    """A padded convolution without bias, batch norm, and SiLU if wanted: (N, C, H, W) -> (N, out, H / s, W / s)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        config: EfficientNetConfig,
        *,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        has_activation: bool = True,
    ) -> None:
        padding = kernel_size // 2
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels, eps=config.norm_tiny, momentum=config.norm_momentum),
            *([nn.SiLU()] if has_activation else []),
        )


class MBConv(nn.Module):
    """Widen by 1x1, look at each map by itself, weigh the maps, narrow by 1x1 (MobileNet v2's block with squeeze-and-
    excitation): (N, C, H, W) -> (N, width, H / stride, W / stride).

    Where sizes agree the maps are added, and in training the rest is left out with probability `drop_path`.
    """

    def __init__(
        self, in_channels: int, stage: Stage, width: int, stride: int, drop_path: float, config: EfficientNetConfig
    ) -> None:
        super().__init__()
        inner = round_width(in_channels * stage.expansion)
        layers: list[nn.Module] = [] if inner == in_channels else [ConvNormSiLU(in_channels, inner, config)]
        layers += [
            ConvNormSiLU(inner, inner, config, kernel_size=stage.kernel_size, stride=stride, groups=inner),
            SqueezeExcitation(inner, max(1, in_channels // 4), activation=nn.SiLU),
            ConvNormSiLU(inner, width, config, has_activation=False),
        ]
        self.block = nn.Sequential(*layers)
        self.drop_path = DropPath(drop_path) if stride == 1 and in_channels == width else None

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        changed = self.block(maps)
        return changed if self.drop_path is None else self.drop_path(changed) + maps


class EfficientNet(nn.Module):
    """3x3 stem, seven stages, 1x1 convolution, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self.config = config
        stages = [stage._replace(**scaled(stage, config)) for stage in STAGES]
        num_blocks = sum(stage.depth for stage in stages)
        in_channels = round_width(STEM_WIDTH * config.width)
        layers: list[nn.Module] = [ConvNormSiLU(config.in_channels, in_channels, config, kernel_size=3, stride=2)]
        first = 0
        for stage in stages:
            rates = [config.drop_path * number / num_blocks for number in range(first, first + stage.depth)]
            layers.append(make_stage(in_channels, stage, rates, config))
            in_channels, first = stage.width, first + stage.depth
        width = HEAD_FACTOR * in_channels
        self.features = nn.Sequential(*layers, ConvNormSiLU(in_channels, width, config))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(width, config.num_classes))
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this EfficientNet")
        return self.classifier(self.avgpool(self.features(images)).flatten(1))


def make_stage(in_channels: int, stage: Stage, rates: list[float], config: EfficientNetConfig) -> nn.Sequential:
    """One block for each rate of dropping it, the first with the stage's stride."""
    first = MBConv(in_channels, stage, stage.width, stage.stride, rates[0], config)
    return nn.Sequential(first, *(MBConv(stage.width, stage, stage.width, 1, rate, config) for rate in rates[1:]))


def scaled(stage: Stage, config: EfficientNetConfig) -> dict[str, int]:
    """Width and depth of a stage of B0 in a network that is `config.width` times wider and `config.depth` deeper."""
    return {"width": round_width(stage.width * config.width), "depth": math.ceil(stage.depth * config.depth)}


def compound_scaling(exponent: float) -> Scaling:
    """Depth, width and resolution growing together (equation 3): about 2**`exponent` times the multiply-adds of B0."""
    return Scaling(DEPTH_BASE**exponent, WIDTH_BASE**exponent, RESOLUTION_BASE**exponent)


def draw_weights(network: nn.Module) -> None:
    """Draw in place: He et al. 2015 (arXiv:1502.01852) by fan out as torchvision; a small head; biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=HEAD_STD)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


_TITLE = "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
_PAPER = "arXiv:1905.11946"
_TABLE = "arXiv:1905.11946, Table 2"

ENTRIES = (
    Entry(
        name="efficientnet_b0", family="efficientnet", year=2019, title=_TITLE, paper=_PAPER, build=EfficientNet,
        config=EfficientNetConfig(), input_size=(3, 224, 224), num_params=5_288_548, macs=385_814_752,
        stem="features.0.0", head="classifier.1", min_size=MIN_SIZE,
        published=Published(top1_error=0.229, top5_error=0.067, source=_TABLE),
        weights=(
            imagenet_weights(
                "efficientnet_b0_rwightman-7f5810bc.pth", size_mib=20.451, top1=0.77692, top5=0.93532,
                interpolation="bicubic",
            ),
        ),
    ),
    Entry(
        name="efficientnet_b1", family="efficientnet", year=2019, title=_TITLE, paper=_PAPER, build=EfficientNet,
        config=EfficientNetConfig(width=1.0, depth=1.1), input_size=(3, 240, 240), num_params=7_794_184,
        macs=686_802_832, stem="features.0.0", head="classifier.1", min_size=MIN_SIZE,
        published=Published(top1_error=0.209, top5_error=0.056, source=_TABLE),
        weights=(
            imagenet_weights(
                "efficientnet_b1_rwightman-bac287d4.pth", size_mib=30.134, top1=0.78642, top5=0.94186,
                crop_size=240, interpolation="bicubic",
            ),
            imagenet_weights(
                "efficientnet_b1-c27df63c.pth", size_mib=30.136, top1=0.79838, top5=0.94934, name="imagenet_v2",
                resize_size=255, crop_size=240,
            ),
        ),
    ),
    Entry(
        name="efficientnet_b2", family="efficientnet", year=2019, title=_TITLE, paper=_PAPER, build=EfficientNet,
        config=EfficientNetConfig(width=1.1, depth=1.2, dropout=0.3), input_size=(3, 260, 260), num_params=9_109_994,
        macs=993_561_872, stem="features.0.0", head="classifier.1", min_size=MIN_SIZE,
        published=Published(top1_error=0.199, top5_error=0.051, source=_TABLE),
        weights=(
            imagenet_weights(
                "efficientnet_b2_rwightman-c35c1473.pth", size_mib=35.174, top1=0.80608, top5=0.95310,
                resize_size=288, crop_size=288, interpolation="bicubic",
            ),
        ),
    ),
    Entry(
        name="efficientnet_b3", family="efficientnet", year=2019, title=_TITLE, paper=_PAPER, build=EfficientNet,
        config=EfficientNetConfig(width=1.2, depth=1.4, dropout=0.3), input_size=(3, 300, 300), num_params=12_233_232,
        macs=1_827_141_392, stem="features.0.0", head="classifier.1", min_size=MIN_SIZE,
        published=Published(top1_error=0.184, top5_error=0.043, source=_TABLE),
        weights=(
            imagenet_weights(
                "efficientnet_b3_rwightman-b3899882.pth", size_mib=47.184, top1=0.82008, top5=0.96054,
                resize_size=320, crop_size=300, interpolation="bicubic",
            ),
        ),
    ),
    Entry(
        name="efficientnet_b4", family="efficientnet", year=2019, title=_TITLE, paper=_PAPER, build=EfficientNet,
        config=EfficientNetConfig(width=1.4, depth=1.8, dropout=0.4), input_size=(3, 380, 380), num_params=19_341_616,
        macs=4_393_771_024, stem="features.0.0", head="classifier.1", min_size=MIN_SIZE,
        published=Published(top1_error=0.171, top5_error=0.036, source=_TABLE),
        weights=(
            imagenet_weights(
                "efficientnet_b4_rwightman-23ab8bcd.pth", size_mib=74.489, top1=0.83384, top5=0.96594,
                resize_size=384, crop_size=380, interpolation="bicubic",
            ),
        ),
    ),
    Entry(
        name="efficientnet_b5", family="efficientnet", year=2019, title=_TITLE, paper=_PAPER, build=EfficientNet,
        config=EfficientNetConfig(width=1.6, depth=2.2, dropout=0.4, norm_tiny=1e-3, norm_momentum=0.01),
        input_size=(3, 456, 456), num_params=30_389_784, macs=10_266_384_752, stem="features.0.0", head="classifier.1",
        min_size=MIN_SIZE, published=Published(top1_error=0.164, top5_error=0.033, source=_TABLE),
        weights=(
            imagenet_weights(
                "efficientnet_b5_lukemelas-1a07897c.pth", size_mib=116.864, top1=0.83444, top5=0.96628,
                resize_size=456, crop_size=456, interpolation="bicubic",
            ),
        ),
    ),
    Entry(
        name="efficientnet_b6", family="efficientnet", year=2019, title=_TITLE, paper=_PAPER, build=EfficientNet,
        config=EfficientNetConfig(width=1.8, depth=2.6, dropout=0.5, norm_tiny=1e-3, norm_momentum=0.01),
        input_size=(3, 528, 528), num_params=43_040_704, macs=19_067_593_536, stem="features.0.0", head="classifier.1",
        min_size=MIN_SIZE, published=Published(top1_error=0.16, top5_error=0.032, source=_TABLE),
        weights=(
            imagenet_weights(
                "efficientnet_b6_lukemelas-24a108a5.pth", size_mib=165.362, top1=0.84008, top5=0.96916,
                resize_size=528, crop_size=528, interpolation="bicubic",
            ),
        ),
    ),
    Entry(
        name="efficientnet_b7", family="efficientnet", year=2019, title=_TITLE, paper=_PAPER, build=EfficientNet,
        config=EfficientNetConfig(width=2.0, depth=3.1, dropout=0.5, norm_tiny=1e-3, norm_momentum=0.01),
        input_size=(3, 600, 600), num_params=66_347_960, macs=37_745_884_192, stem="features.0.0", head="classifier.1",
        min_size=MIN_SIZE, published=Published(top1_error=0.157, top5_error=0.03, source=_TABLE),
        weights=(
            imagenet_weights(
                "efficientnet_b7_lukemelas-c5b4e57e.pth", size_mib=254.675, top1=0.84122, top5=0.96908,
                resize_size=600, crop_size=600, interpolation="bicubic",
            ),
        ),
    ),
)  # fmt: skip
