"""ResNeXt: residual networks of grouped bottlenecks (Xie, Girshick, Dollar, Tu & He 2016, arXiv:1611.05431).

N images, C channels, K classes. "32x4d" is a cardinality of 32 groups of 4 maps each in the first stage, twice as many
maps in each next one. Blocks have the form of figure 3c; parameter names and initialisation are torchvision's, so that
its published weights load. Departures: blocks for CIFAR are those for ImageNet, as in the authors' published code,
which prefers them; it says that the paper's errors on CIFAR are those of pre-activated ones. The paper has 32x4d and
64x4d with 101 layers; `resnext101_32x8d` came later.
"""

from dataclasses import dataclass

from striate.errors import InputError
from striate.layers.residual import Bottleneck, MakeBlock, bottleneck
from striate.networks.checking import check_counts, check_depths
from striate.networks.entry import Entry, Published
from striate.networks.families.resnet import MIN_SIZE, CifarResNet, ResNet
from striate.networks.imagenet import imagenet_weights


@dataclass(frozen=True)
class ResNeXtConfig:
    """Blocks in each stage (four for large images, any number for 32x32), groups, and maps a group in the first
    stage.
    """

    in_channels: int = 3
    num_classes: int = 1000
    depths: tuple[int, ...] = (3, 4, 6, 3)
    cardinality: int = 32
    group_width: int = 4

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if not self.depths or min(self.depths) < 1:
            raise InputError(f"depths must be numbers of at least 1 but are {self.depths}")
        if self.cardinality < 1 or self.group_width < 1:
            raise InputError(
                f"cardinality and group_width must be at least 1 but are {self.cardinality} and {self.group_width}"
            )


def resnext(config: ResNeXtConfig) -> ResNet:
    """Table 1."""
    check_depths(config.depths, num_stages=4)
    return ResNet(config.in_channels, config.num_classes, grouped_bottleneck(config), config.depths)


def cifar_resnext(config: ResNeXtConfig) -> CifarResNet:
    """Section 5.3: a 3x3 stem of 64 maps and stages that give 256, 512, 1024 maps and so on."""
    widths = tuple(256 * 2**stage for stage in range(len(config.depths)))
    return CifarResNet(
        config.in_channels, config.num_classes, grouped_bottleneck(config), config.depths, widths, stem_width=64
    )


def grouped_bottleneck(config: ResNeXtConfig) -> MakeBlock:
    """Makes bottlenecks whose 3x3 works in groups: all groups together have a width in proportion to the maps
    outside.
    """

    def make_block(in_channels: int, out_channels: int, stride: int) -> Bottleneck:
        width = config.cardinality * config.group_width * (out_channels // 256)
        return bottleneck(in_channels, out_channels, stride, width=width, groups=config.cardinality)

    return make_block


_TITLE = "Aggregated Residual Transformations for Deep Neural Networks"
_PAPER = "arXiv:1611.05431"
_TABLE_7 = "arXiv:1611.05431, Table 7, CIFAR-10, with pre-activated blocks"

ENTRIES = (
    Entry(
        name="resnext50_32x4d", family="resnext", year=2016, title=_TITLE, paper=_PAPER, build=resnext,
        config=ResNeXtConfig(), input_size=(3, 224, 224), num_params=25_028_904, macs=4_230_479_872, stem="conv1",
        head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.222, source="arXiv:1611.05431, Table 3, one crop"),
        weights=(
            imagenet_weights("resnext50_32x4d-7cdf4587.pth", size_mib=95.789, top1=0.77618, top5=0.93698),
            imagenet_weights(
                "resnext50_32x4d-1a0047aa.pth", size_mib=95.833, top1=0.81198, top5=0.95340, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
    Entry(
        name="resnext101_32x8d", family="resnext", year=2016, title=_TITLE, paper=_PAPER, build=resnext,
        config=ResNeXtConfig(depths=(3, 4, 23, 3), group_width=8), input_size=(3, 224, 224),
        num_params=88_791_336, macs=16_414_015_488, stem="conv1", head="fc", min_size=MIN_SIZE,
        weights=(
            imagenet_weights("resnext101_32x8d-8ba56ff5.pth", size_mib=339.586, top1=0.79312, top5=0.94526),
            imagenet_weights(
                "resnext101_32x8d-110c445d.pth", size_mib=339.673, top1=0.82834, top5=0.96228, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
    Entry(
        name="resnext101_64x4d", family="resnext", year=2016, title=_TITLE, paper=_PAPER, build=resnext,
        config=ResNeXtConfig(depths=(3, 4, 23, 3), cardinality=64), input_size=(3, 224, 224),
        num_params=83_455_272, macs=15_460_270_080, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.204, top5_error=0.053,
        source="arXiv:1611.05431, Table 5, one crop of 224x224"),
        weights=(
            imagenet_weights(
                "resnext101_64x4d-173b62eb.pth", size_mib=319.318, top1=0.83246, top5=0.96454, resize_size=232
            ),
        ),
    ),
    Entry(
        name="resnext29_8x64d_cifar", family="resnext", year=2016, title=_TITLE, paper=_PAPER, build=cifar_resnext,
        config=ResNeXtConfig(num_classes=10, depths=(3, 3, 3), cardinality=8, group_width=64),
        input_size=(3, 32, 32), num_params=34_426_698, macs=5_387_266_048, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.0365, source=_TABLE_7),
    ),
    Entry(
        name="resnext29_16x64d_cifar", family="resnext", year=2016, title=_TITLE, paper=_PAPER, build=cifar_resnext,
        config=ResNeXtConfig(num_classes=10, depths=(3, 3, 3), cardinality=16, group_width=64),
        input_size=(3, 32, 32), num_params=68_155_210, macs=10_688_866_304, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.0358, source=_TABLE_7),
    ),
)  # fmt: skip
