"""MnasNet-B1 (Tan et al. 2018, arXiv:1807.11626). N images, C channels, H x W pixels, K classes.

The form without squeeze-and-excitation, at four widths. Parameter names are torchvision's, so that its published
weights load, and so is the initialisation but for the head, which starts small whatever the number of classes.
Departures: running averages of batch norms have PyTorch's momentum, not the authors' 0.0003, with which they would
need ten thousand steps to settle; convolutions are padded alike on both sides.
"""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry
from striate.networks.imagenet import imagenet_weights
from striate.networks.widths import round_width

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""
STEM_WIDTH, SEPARABLE_WIDTH, HEAD_WIDTH = 32, 16, 1280
"""Maps of the first convolution, of the separable one behind it, and of the last, which alone is never scaled."""
HEAD_STD = 0.01


class Stage(NamedTuple):
    """`depth` blocks, the first with the stride, to `width` maps; `expansion` times as many inside."""

    expansion: int
    kernel_size: int
    stride: int
    width: int
    depth: int


STAGES = (
    Stage(expansion=3, kernel_size=3, stride=2, width=24, depth=3),
    Stage(expansion=3, kernel_size=5, stride=2, width=40, depth=3),
    Stage(expansion=6, kernel_size=5, stride=2, width=80, depth=3),
    Stage(expansion=6, kernel_size=3, stride=1, width=96, depth=2),
    Stage(expansion=6, kernel_size=5, stride=2, width=192, depth=4),
    Stage(expansion=6, kernel_size=3, stride=1, width=320, depth=1),
)


@dataclass(frozen=True)
class MnasNetConfig:
    """Channels in, classes out, how many times wider than the first form, and what is dropped before the last layer."""

    in_channels: int = 3
    num_classes: int = 1000
    width: float = 1.0
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if not 0 < self.width < float("inf"):
            raise InputError(f"width must be a finite factor above 0 but is {self.width!r}")


class InvertedResidual(nn.Module):
    """Widen by 1x1, look at each map by itself, narrow by 1x1: (N, C, H, W) -> (N, width, H / stride, W / stride).

    Where sizes agree the maps are added.
    """

    def __init__(self, in_channels: int, width: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = in_channels * stage.expansion
        self.has_shortcut = stride == 1 and in_channels == width
        self.layers = nn.Sequential(
            *conv_norm(in_channels, inner, 1), nn.ReLU(),
            *conv_norm(inner, inner, stage.kernel_size, stride, groups=inner), nn.ReLU(),
            *conv_norm(inner, width, 1),
        )  # fmt: skip

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        changed = self.layers(maps)
        return changed + maps if self.has_shortcut else changed


class MnasNet(nn.Module):
    """3x3 stem, one separable convolution, six stages, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: MnasNetConfig) -> None:
        super().__init__()
        self.config = config
        stem, separable, *widths = (
            round_width(width * config.width)
            for width in (STEM_WIDTH, SEPARABLE_WIDTH, *(stage.width for stage in STAGES))
        )
        stages = []
        in_channels = separable
        for stage, width in zip(STAGES, widths, strict=True):
            stages.append(make_stage(in_channels, width, stage))
            in_channels = width
        self.layers = nn.Sequential(
            *conv_norm(config.in_channels, stem, 3, stride=2), nn.ReLU(),
            *conv_norm(stem, stem, 3, groups=stem), nn.ReLU(),
            *conv_norm(stem, separable, 1),
            *stages,
            *conv_norm(in_channels, HEAD_WIDTH, 1), nn.ReLU(),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(HEAD_WIDTH, config.num_classes))
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this MnasNet")
        return self.classifier(self.avgpool(self.layers(images)).flatten(1))


def make_stage(in_channels: int, width: int, stage: Stage) -> nn.Sequential:
    """The blocks of a stage, the first with its stride."""
    first = InvertedResidual(in_channels, width, stage, stage.stride)
    return nn.Sequential(first, *(InvertedResidual(width, width, stage, 1) for _ in range(stage.depth - 1)))


def conv_norm(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A padded convolution without bias, and its batch norm."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(out_channels)


def draw_weights(network: nn.Module) -> None:
    """Draw in place: He et al. 2015 (arXiv:1502.01852) by fan out as torchvision; a small head, its biases zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=HEAD_STD)
            nn.init.zeros_(module.bias)


_TITLE = "MnasNet: Platform-Aware Neural Architecture Search for Mobile"
_PAPER = "arXiv:1807.11626"

ENTRIES = (
    Entry(
        name="mnasnet0_5", family="mnasnet", year=2018, title=_TITLE, paper=_PAPER, build=MnasNet,
        config=MnasNetConfig(width=0.5), input_size=(3, 224, 224), num_params=2_218_512, macs=104_455_968,
        stem="layers.0", head="classifier.1", min_size=MIN_SIZE,
        weights=(imagenet_weights("mnasnet0.5_top1_67.823-3ffadce67e.pth", size_mib=8.591, top1=0.67734, top5=0.8749),),
    ),
    Entry(
        name="mnasnet0_75", family="mnasnet", year=2018, title=_TITLE, paper=_PAPER, build=MnasNet,
        config=MnasNetConfig(width=0.75), input_size=(3, 224, 224), num_params=3_170_208, macs=215_493_104,
        stem="layers.0", head="classifier.1", min_size=MIN_SIZE,
        weights=(
            imagenet_weights("mnasnet0_75-7090bc5f.pth", size_mib=12.303, top1=0.7118, top5=0.90496, resize_size=232),
        ),
    ),
    Entry(
        name="mnasnet1_0", family="mnasnet", year=2018, title=_TITLE, paper=_PAPER, build=MnasNet,
        config=MnasNetConfig(), input_size=(3, 224, 224), num_params=4_383_312, macs=314_415_872,
        stem="layers.0", head="classifier.1", min_size=MIN_SIZE,
        weights=(
            imagenet_weights("mnasnet1.0_top1_73.512-f206786ef8.pth", size_mib=16.915, top1=0.73456, top5=0.9151),
        ),
    ),
    Entry(
        name="mnasnet1_3", family="mnasnet", year=2018, title=_TITLE, paper=_PAPER, build=MnasNet,
        config=MnasNetConfig(width=1.3), input_size=(3, 224, 224), num_params=6_282_256, macs=526_362_432,
        stem="layers.0", head="classifier.1", min_size=MIN_SIZE,
        weights=(
            imagenet_weights("mnasnet1_3-a4c69d6f.pth", size_mib=24.246, top1=0.76506, top5=0.93522, resize_size=232),
        ),
    ),
)  # fmt: skip
