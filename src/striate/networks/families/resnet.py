"""Residual networks (He, Zhang, Ren & Sun 2015, arXiv:1512.03385). N images, C channels, K classes.

Parameter names and initialisation are torchvision's, so that its published weights load. Two forms of the bottleneck:
the paper's has its stride in the first 1x1 convolution (`resnet50_v1` and its like), torchvision's in the 3x3
(`resnet50`, usually called v1.5). Their parameters have the same names and shapes, but weights of one give poor answers
in the other. Departures: torchvision's stride; `resnet18_cifar` is no network of the paper: it is ResNet-18 with a 3x3
stem and no first pooling, as is usual for 32x32 images.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from striate.errors import InputError
from striate.layers.residual import (
    MakeBlock,
    bottleneck,
    bottleneck_v1,
    conv3x3,
    draw_weights,
    make_stage,
    pad_shortcut,
    projection,
)
from striate.networks.checking import check_counts, check_depths, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""


@dataclass(frozen=True)
class ResNetConfig:
    """For large images (Table 1): the kind of block and how many of them in each of the four stages."""

    in_channels: int = 3
    num_classes: int = 1000
    block: Literal["basic", "bottleneck", "bottleneck_v1"] = "basic"
    depths: tuple[int, ...] = (2, 2, 2, 2)

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.block not in ("basic", "bottleneck", "bottleneck_v1"):
            raise InputError(f"block must be 'basic', 'bottleneck' or 'bottleneck_v1' but is {self.block!r}")
        check_depths(self.depths, num_stages=4)


@dataclass(frozen=True)
class CifarResNetConfig:
    """For 32x32 images (section 4.2): basic blocks, `depths[i]` of them with `widths[i]` maps in stage i.

    `shortcut` says what a stage's first block does where sizes differ: "pad" (option A, no parameters) or "project"
    (option B).
    """

    in_channels: int = 3
    num_classes: int = 10
    depths: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = (16, 32, 64)
    shortcut: Literal["pad", "project"] = "pad"

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.shortcut not in ("pad", "project"):
            raise InputError(f"shortcut must be 'pad' or 'project' but is {self.shortcut!r}")
        if not self.depths or len(self.depths) != len(self.widths) or min(*self.depths, *self.widths) < 1:
            raise InputError(f"depths {self.depths} and widths {self.widths} must pair up, each at least 1")
        if self.shortcut == "pad" and list(self.widths) != sorted(self.widths):
            raise InputError(f"a shortcut that pads cannot lose maps, so widths must not fall but are {self.widths}")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (figure 5, left): (N, C, H, W) -> (N, C', H / stride, W / stride)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = downsample
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """The maps plus what the two convolutions make of them, rectified."""
        residual = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.bn2(self.conv2(residual))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return self.relu2(residual + shortcut)


class ResNet(nn.Module):
    """7x7 stem, four stages of any block, global average: images (N, C, H, W) -> logits (N, K).

    Stage i has `depths[i]` blocks and gives `widths[i]` maps.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        make_block: MakeBlock,
        depths: tuple[int, ...],
        widths: tuple[int, ...] = (256, 512, 1024, 2048),
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = make_stage(make_block, 64, widths[0], depths[0], 1)
        self.layer2 = make_stage(make_block, widths[0], widths[1], depths[1], 2)
        self.layer3 = make_stage(make_block, widths[1], widths[2], depths[2], 2)
        self.layer4 = make_stage(make_block, widths[2], widths[3], depths[3], 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[3], num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.in_channels, MIN_SIZE, network="this ResNet")
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        return self.fc(self.avgpool(maps).flatten(1))


class CifarResNet(nn.Module):
    """3x3 stem, stages of any block, global average: images (N, C, H, W) -> logits (N, K).

    The stem gives `stem_width` maps; stage i has `depths[i]` blocks and gives `widths[i]` maps.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        make_block: MakeBlock,
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        stem_width: int,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_stages = len(depths)
        self.conv1 = conv3x3(in_channels, stem_width)
        self.bn1 = nn.BatchNorm2d(stem_width)
        self.relu = nn.ReLU()
        ins = (stem_width, *widths)
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks = make_stage(make_block, ins[stage], width, depth, 1 if stage == 0 else 2)
            self.add_module(f"layer{stage + 1}", blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.in_channels, MIN_SIZE, network="this ResNet")
        maps = self.relu(self.bn1(self.conv1(images)))
        for number in range(1, self.num_stages + 1):
            maps = self.get_submodule(f"layer{number}")(maps)
        return self.fc(self.avgpool(maps).flatten(1))


def resnet(config: ResNetConfig) -> ResNet:
    """Table 1."""
    if config.block == "basic":
        return ResNet(config.in_channels, config.num_classes, basic_block, config.depths, (64, 128, 256, 512))
    make_block = bottleneck if config.block == "bottleneck" else bottleneck_v1
    return ResNet(config.in_channels, config.num_classes, make_block, config.depths)


def cifar_resnet(config: CifarResNetConfig) -> CifarResNet:
    """Section 4.2: as many maps leave the stem as the first stage."""
    make_block = basic_block if config.shortcut == "project" else padded_block
    return CifarResNet(
        config.in_channels, config.num_classes, make_block, config.depths, config.widths, config.widths[0]
    )


def basic_block(in_channels: int, out_channels: int, stride: int) -> BasicBlock:
    """With a projection where shapes change (option B)."""
    return BasicBlock(in_channels, out_channels, stride, projection(in_channels, out_channels, stride))


def padded_block(in_channels: int, out_channels: int, stride: int) -> BasicBlock:
    """With zeros where shapes change (option A)."""
    return BasicBlock(in_channels, out_channels, stride, pad_shortcut(in_channels, out_channels, stride))


_TITLE = "Deep Residual Learning for Image Recognition"
_TITLE_V1 = f"{_TITLE} (stride in the first 1x1, as printed)"
_TITLE_V1_5 = f"{_TITLE} (v1.5: stride in the 3x3)"
_PAPER = "arXiv:1512.03385"
_TABLE_3 = "arXiv:1512.03385, Table 3, ten crops"
_TABLE_6 = "arXiv:1512.03385, Table 6, with augmentation"

ENTRIES = (
    Entry(
        name="resnet18", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=resnet, config=ResNetConfig(),
        input_size=(3, 224, 224), num_params=11_689_512, macs=1_814_073_344, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2788, source="arXiv:1512.03385, Table 2, option A, ten crops"),
        weights=(imagenet_weights("resnet18-f37072fd.pth", size_mib=44.661, top1=0.69758, top5=0.89078),),
    ),
    Entry(
        name="resnet34", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=resnet,
        config=ResNetConfig(depths=(3, 4, 6, 3)),
        input_size=(3, 224, 224), num_params=21_797_672, macs=3_663_761_408, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2452, top5_error=0.0746, source="arXiv:1512.03385, Table 3, B, ten crops"),
        weights=(imagenet_weights("resnet34-b627a593.pth", size_mib=83.275, top1=0.73314, top5=0.91420),),
    ),
    Entry(
        name="resnet50", family="resnet", year=2015, title=_TITLE_V1_5, paper=_PAPER, build=resnet,
        config=ResNetConfig(block="bottleneck", depths=(3, 4, 6, 3)),
        input_size=(3, 224, 224), num_params=25_557_032, macs=4_089_184_256, stem="conv1", head="fc",
        min_size=MIN_SIZE,
        published=Published(top1_error=0.2285, top5_error=0.0671, source=f"{_TABLE_3}, for the stride in the 1x1"),
        weights=(
            imagenet_weights("resnet50-0676ba61.pth", size_mib=97.781, top1=0.76130, top5=0.92862),
            imagenet_weights(
                "resnet50-11ad3fa6.pth", size_mib=97.790, top1=0.80858, top5=0.95434, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
    Entry(
        name="resnet101", family="resnet", year=2015, title=_TITLE_V1_5, paper=_PAPER, build=resnet,
        config=ResNetConfig(block="bottleneck", depths=(3, 4, 23, 3)),
        input_size=(3, 224, 224), num_params=44_549_160, macs=7_801_405_440, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2175, top5_error=0.0605, source=f"{_TABLE_3}, for the stride in the 1x1"),
        weights=(
            imagenet_weights("resnet101-63fe2227.pth", size_mib=170.511, top1=0.77374, top5=0.93546),
            imagenet_weights(
                "resnet101-cd907fc2.pth", size_mib=170.530, top1=0.81886, top5=0.95780, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
    Entry(
        name="resnet152", family="resnet", year=2015, title=_TITLE_V1_5, paper=_PAPER, build=resnet,
        config=ResNetConfig(block="bottleneck", depths=(3, 8, 36, 3)),
        input_size=(3, 224, 224), num_params=60_192_808, macs=11_513_626_624, stem="conv1", head="fc",
        min_size=MIN_SIZE,
        published=Published(top1_error=0.2143, top5_error=0.0571, source=f"{_TABLE_3}, for the stride in the 1x1"),
        weights=(
            imagenet_weights("resnet152-394f9c45.pth", size_mib=230.434, top1=0.78312, top5=0.94046),
            imagenet_weights(
                "resnet152-f82ba261.pth", size_mib=230.474, top1=0.82284, top5=0.96002, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
    Entry(
        name="resnet50_v1", family="resnet", year=2015, title=_TITLE_V1, paper=_PAPER, build=resnet,
        config=ResNetConfig(block="bottleneck_v1", depths=(3, 4, 6, 3)),
        input_size=(3, 224, 224), num_params=25_557_032, macs=3_857_973_248, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2285, top5_error=0.0671, source=_TABLE_3),
    ),
    Entry(
        name="resnet101_v1", family="resnet", year=2015, title=_TITLE_V1, paper=_PAPER, build=resnet,
        config=ResNetConfig(block="bottleneck_v1", depths=(3, 4, 23, 3)),
        input_size=(3, 224, 224), num_params=44_549_160, macs=7_570_194_432, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2175, top5_error=0.0605, source=_TABLE_3),
    ),
    Entry(
        name="resnet152_v1", family="resnet", year=2015, title=_TITLE_V1, paper=_PAPER, build=resnet,
        config=ResNetConfig(block="bottleneck_v1", depths=(3, 8, 36, 3)),
        input_size=(3, 224, 224), num_params=60_192_808, macs=11_282_415_616, stem="conv1", head="fc",
        min_size=MIN_SIZE,
        published=Published(top1_error=0.2143, top5_error=0.0571, source=_TABLE_3),
    ),
    Entry(
        name="resnet20_cifar", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=cifar_resnet,
        config=CifarResNetConfig(), input_size=(3, 32, 32), num_params=269_722, macs=40_551_040, stem="conv1",
        head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.0875, source=_TABLE_6),
    ),
    Entry(
        name="resnet32_cifar", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=cifar_resnet,
        config=CifarResNetConfig(depths=(5, 5, 5)), input_size=(3, 32, 32), num_params=464_154, macs=68_862_592,
        stem="conv1",
        head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.0751, source=_TABLE_6),
    ),
    Entry(
        name="resnet44_cifar", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=cifar_resnet,
        config=CifarResNetConfig(depths=(7, 7, 7)), input_size=(3, 32, 32), num_params=658_586, macs=97_174_144,
        stem="conv1",
        head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.0717, source=_TABLE_6),
    ),
    Entry(
        name="resnet56_cifar", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=cifar_resnet,
        config=CifarResNetConfig(depths=(9, 9, 9)), input_size=(3, 32, 32), num_params=853_018, macs=125_485_696,
        stem="conv1",
        head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.0697, source=_TABLE_6),
    ),
    Entry(
        name="resnet110_cifar", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=cifar_resnet,
        config=CifarResNetConfig(depths=(18, 18, 18)), input_size=(3, 32, 32), num_params=1_727_962, macs=252_887_680,
        stem="conv1",
        head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.0643, source=f"{_TABLE_6}, best of five runs; their mean is 6.61 %"),
    ),
    Entry(
        name="resnet1202_cifar", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=cifar_resnet,
        config=CifarResNetConfig(depths=(200, 200, 200)), input_size=(3, 32, 32), num_params=19_421_274,
        macs=2_829_238_912,
        stem="conv1", head="fc", min_size=MIN_SIZE, published=Published(top1_error=0.0793, source=_TABLE_6),
    ),
    Entry(
        name="resnet18_cifar", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=cifar_resnet,
        config=CifarResNetConfig(depths=(2, 2, 2, 2), widths=(64, 128, 256, 512), shortcut="project"),
        input_size=(3, 32, 32), num_params=11_173_962, macs=555_422_720, stem="conv1", head="fc", min_size=MIN_SIZE,
    ),
)  # fmt: skip
