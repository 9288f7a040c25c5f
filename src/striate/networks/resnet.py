"""Residual networks (He, Zhang, Ren & Sun 2015, arXiv:1512.03385). N images, C channels, K classes.

Parameter names and initialisation are torchvision's, so that its published weights load. Departures: the bottleneck
has its stride in the 3x3 convolution, as torchvision's, where the paper has it in the first 1x1. `resnet18_cifar` is
no network of the paper: it is ResNet-18 with a 3x3 stem and no first pooling, as is usual for 32x32 images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry, Published
from striate.networks.imagenet import imagenet_weights

MIN_SIZE = (1, 1)
"""Every stride is padded, so that even one pixel gives one answer."""


@dataclass(frozen=True)
class ResNetConfig:
    """For large images (Table 1): the kind of block and how many of them in each of the four stages."""

    in_channels: int = 3
    num_classes: int = 1000
    block: Literal["basic", "bottleneck"] = "basic"
    depths: tuple[int, ...] = (2, 2, 2, 2)

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.block not in ("basic", "bottleneck"):
            raise InputError(f"block must be 'basic' or 'bottleneck' but is {self.block!r}")
        if len(self.depths) != 4 or min(self.depths) < 1:
            raise InputError(f"depths must be four numbers of at least 1 but are {self.depths}")


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
    """Two 3x3 convolutions beside a shortcut (figure 5, left): (N, C, H, W) -> (N, width, H / stride, W / stride)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """The maps plus what the two convolutions make of them, rectified."""
        residual = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.bn2(self.conv2(residual))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return self.relu2(residual + shortcut)


class Bottleneck(nn.Module):
    """1x1 to few maps, 3x3, 1x1 to many (figure 5, right): (N, C, H, W) -> (N, 4 * width, H / stride, W / stride)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = downsample
        self.relu3 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """The maps plus what the three convolutions make of them, rectified."""
        residual = self.relu1(self.bn1(self.conv1(maps)))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = maps if self.downsample is None else self.downsample(maps)
        return self.relu3(residual + shortcut)


class PadShortcut(nn.Module):
    """Option A (section 4.2): every second pixel, more maps of zeros: (N, C, H, W) -> (N, C + extra, H / s, W / s)."""

    def __init__(self, extra_channels: int, stride: int) -> None:
        super().__init__()
        self.extra_channels = extra_channels
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """The zeros come half before and half after the maps that there are; if odd, one more after."""
        before = self.extra_channels // 2
        after = self.extra_channels - before
        return F.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, after))


Block = type[BasicBlock] | type[Bottleneck]
MakeShortcut = Callable[[int, int, int], nn.Module]
"""Takes channels in, channels out and stride."""


class ResNet(nn.Module):
    """7x7 stem, four stages, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        block: Block = BasicBlock if config.block == "basic" else Bottleneck
        self.conv1 = nn.Conv2d(config.in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = make_stage(block, 64, 64, config.depths[0], 1, projection)
        self.layer2 = make_stage(block, 64 * block.expansion, 128, config.depths[1], 2, projection)
        self.layer3 = make_stage(block, 128 * block.expansion, 256, config.depths[2], 2, projection)
        self.layer4 = make_stage(block, 256 * block.expansion, 512, config.depths[3], 2, projection)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * block.expansion, config.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this ResNet")
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        return self.fc(self.avgpool(maps).flatten(1))


class CifarResNet(nn.Module):
    """3x3 stem, stages of basic blocks, global average: images (N, C, H, W) -> logits (N, K)."""

    def __init__(self, config: CifarResNetConfig) -> None:
        super().__init__()
        self.config = config
        shortcut = pad_shortcut if config.shortcut == "pad" else projection
        self.conv1 = conv3x3(config.in_channels, config.widths[0])
        self.bn1 = nn.BatchNorm2d(config.widths[0])
        self.relu = nn.ReLU()
        in_channels = config.widths[0]
        for number, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True), start=1):
            stage = make_stage(BasicBlock, in_channels, width, depth, 1 if number == 1 else 2, shortcut)
            self.add_module(f"layer{number}", stage)
            in_channels = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(config.widths[-1], config.num_classes)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) of any size -> logits (N, K)."""
        check_images(images, self.config.in_channels, MIN_SIZE, network="this ResNet")
        maps = self.relu(self.bn1(self.conv1(images)))
        for number in range(1, len(self.config.depths) + 1):
            maps = self.get_submodule(f"layer{number}")(maps)
        return self.fc(self.avgpool(maps).flatten(1))


def make_stage(
    block: Block, in_channels: int, width: int, depth: int, stride: int, make_shortcut: MakeShortcut
) -> nn.Sequential:
    """`depth` blocks, the first with the stride s: (N, C, H, W) -> (N, width * expansion, H / s, W / s)."""
    out_channels = width * block.expansion
    changes_shape = stride != 1 or in_channels != out_channels
    shortcut = make_shortcut(in_channels, out_channels, stride) if changes_shape else None
    first = block(in_channels, width, stride, shortcut)
    return nn.Sequential(first, *(block(out_channels, width, 1, None) for _ in range(depth - 1)))


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Option B: a strided 1x1 convolution and its batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


def pad_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Option A, without parameters."""
    return PadShortcut(out_channels - in_channels, stride)


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A padded 3x3 convolution without bias, since batch norm follows."""
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def draw_weights(network: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852) for every convolution, by fan out as torchvision; in place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


_TITLE = "Deep Residual Learning for Image Recognition"
_PAPER = "arXiv:1512.03385"

ENTRIES = (
    Entry(
        name="resnet18", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=ResNet, config=ResNetConfig(),
        input_size=(3, 224, 224), num_params=11_689_512, macs=1_814_073_344, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2788, source="arXiv:1512.03385, Table 2, option A, ten crops"),
        weights=(imagenet_weights("resnet18-f37072fd.pth", size_mib=44.661, top1=0.69758, top5=0.89078),),
    ),
    Entry(
        name="resnet34", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=ResNet,
        config=ResNetConfig(depths=(3, 4, 6, 3)),
        input_size=(3, 224, 224), num_params=21_797_672, macs=3_663_761_408, stem="conv1", head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.2452, top5_error=0.0746, source="arXiv:1512.03385, Table 3, B, ten crops"),
        weights=(imagenet_weights("resnet34-b627a593.pth", size_mib=83.275, top1=0.73314, top5=0.91420),),
    ),
    Entry(
        name="resnet50", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=ResNet,
        config=ResNetConfig(block="bottleneck", depths=(3, 4, 6, 3)),
        input_size=(3, 224, 224), num_params=25_557_032, macs=4_089_184_256, stem="conv1", head="fc",
        min_size=MIN_SIZE,
        published=Published(top1_error=0.2285, top5_error=0.0671, source="arXiv:1512.03385, Table 3, ten crops"),
        weights=(
            imagenet_weights("resnet50-0676ba61.pth", size_mib=97.781, top1=0.76130, top5=0.92862),
            imagenet_weights(
                "resnet50-11ad3fa6.pth", size_mib=97.790, top1=0.80858, top5=0.95434, name="imagenet_v2",
                resize_size=232,
            ),
        ),
    ),
    Entry(
        name="resnet20_cifar", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=CifarResNet,
        config=CifarResNetConfig(), input_size=(3, 32, 32), num_params=269_722, macs=40_551_040, stem="conv1",
        head="fc", min_size=MIN_SIZE,
        published=Published(top1_error=0.0875, source="arXiv:1512.03385, Table 6, with augmentation"),
    ),
    Entry(
        name="resnet18_cifar", family="resnet", year=2015, title=_TITLE, paper=_PAPER, build=CifarResNet,
        config=CifarResNetConfig(depths=(2, 2, 2, 2), widths=(64, 128, 256, 512), shortcut="project"),
        input_size=(3, 32, 32), num_params=11_173_962, macs=555_422_720, stem="conv1", head="fc", min_size=MIN_SIZE,
    ),
)  # fmt: skip
