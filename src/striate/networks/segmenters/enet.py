"""ENet: small and quick, most of it at an eighth of the image's size (Paszke, Chaurasia, Kim & Culurciello 2016,
arXiv:1606.02147).

N images, C channels, H x W pixels, K classes. Built as Table 1 and section 3 have it: bottlenecks beside a main branch,
dilated and asymmetric in turns, PReLU in the encoder and ReLU in the decoder, no biases but in the last layer.
Departure: odd sizes are rounded up in pooling, so that images of any size fit.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.networks.checking import check_counts, check_dropout, check_images
from striate.networks.entry import Entry
from striate.networks.segmenters.segnet import unpooled
from striate.networks.segmenters.unet import KIND

REDUCTION = 4
FIRST = 13
"""Maps of the first convolution; the image's channels, pooled, make them 16 for three."""
MIDDLE = ("regular", 2, "asymmetric", 4, "regular", 8, "asymmetric", 16)
"""Bottlenecks 2.1 to 2.8, and 3.1 to 3.8: a number is a dilation."""


@dataclass(frozen=True)
class EnetConfig:
    """Channels in, classes out, and the fraction of maps dropped in bottlenecks from 2.0 on; a tenth of it before."""

    in_channels: int = 3
    num_classes: int = 19
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        check_dropout(dropout=self.dropout)


class Bottleneck(nn.Module):
    """1x1 to few maps, one convolution of some kind, 1x1 to many, beside the maps themselves (figure 2b): the same
    shape.
    """

    def __init__(self, channels: int, kind: str | int, dropout: float, *, is_decoder: bool = False) -> None:
        super().__init__()
        inner = channels // REDUCTION
        self.branch = nn.Sequential(
            *_conv(channels, inner, 1, is_decoder=is_decoder),
            *_middle(inner, kind, is_decoder=is_decoder),
            nn.Conv2d(inner, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.Dropout2d(dropout),
        )
        self.activation = _activation(channels, is_decoder=is_decoder)

    def forward(self, maps: Tensor) -> Tensor:
        """The maps plus the branch, rectified."""
        return self.activation(maps + self.branch(maps))


class Down(nn.Module):
    """Halves: a strided branch beside max pooling, whose maps are filled up with zeros."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        inner = in_channels // REDUCTION
        self.extra = out_channels - in_channels
        self.reduce = nn.Sequential(
            nn.Conv2d(in_channels, inner, 2, stride=2, bias=False), nn.BatchNorm2d(inner), nn.PReLU(inner)
        )
        self.branch = nn.Sequential(
            *_middle(inner, "regular", is_decoder=False),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.Dropout2d(dropout),
        )
        self.activation = nn.PReLU(out_channels)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, C', H / 2, W / 2), rounded up, and where the maxima were."""
        height, width = maps.shape[2:]
        pooled, indices = F.max_pool2d(maps, 2, ceil_mode=True, return_indices=True)
        even = F.pad(maps, (0, width % 2, 0, height % 2))
        return self.activation(F.pad(pooled, (0, 0, 0, 0, 0, self.extra)) + self.branch(self.reduce(even))), indices


class Up(nn.Module):
    """Doubles: a transposed convolution beside projected maps that are unpooled to where the maxima were."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        inner = in_channels // REDUCTION
        self.main = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        self.reduce = nn.Sequential(*_conv(in_channels, inner, 1, is_decoder=True))
        self.enlarge = nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.branch = nn.Sequential(
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.Dropout2d(dropout),
        )
        self.activation = nn.ReLU()

    def forward(self, maps: Tensor, indices: Tensor, like: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', H, W), the size of `like`."""
        height, width = like.shape[2:]
        enlarged = self.enlarge(self.reduce(maps))[..., :height, :width]
        return self.activation(unpooled(self.main(maps), indices, height, width) + self.branch(enlarged))


class Enet(nn.Module):
    """Table 1: images (N, C, H, W) -> logits (N, K, H, W)."""

    def __init__(self, config: EnetConfig) -> None:
        super().__init__()
        self.config = config
        width, dropout = FIRST + config.in_channels, config.dropout
        self.first = nn.Conv2d(config.in_channels, FIRST, 3, stride=2, padding=1, bias=False)
        self.first_norm = nn.Sequential(nn.BatchNorm2d(width), nn.PReLU(width))
        self.down1 = Down(width, 64, dropout / 10)
        self.stage1 = nn.Sequential(*(Bottleneck(64, "regular", dropout / 10) for _ in range(4)))
        self.down2 = Down(64, 128, dropout)
        self.stage2 = nn.Sequential(*(Bottleneck(128, kind, dropout) for kind in MIDDLE))
        self.stage3 = nn.Sequential(*(Bottleneck(128, kind, dropout) for kind in MIDDLE))
        self.up4 = Up(128, 64, dropout)
        self.stage4 = nn.Sequential(*(Bottleneck(64, "regular", dropout, is_decoder=True) for _ in range(2)))
        self.up5 = Up(64, width, dropout)
        self.stage5 = Bottleneck(width, "regular", dropout, is_decoder=True)
        self.classify = nn.ConvTranspose2d(width, config.num_classes, 3, stride=2, padding=1, output_padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Down thrice and up thrice."""
        check_images(images, self.config.in_channels, (8, 8), network="enet")
        height, width = images.shape[2:]
        pooled = F.max_pool2d(images, 2, ceil_mode=True)
        first = self.first_norm(torch.cat([self.first(images), pooled], dim=1))
        second, indices1 = self.down1(first)
        second = self.stage1(second)
        third, indices2 = self.down2(second)
        maps = self.stage4(self.up4(self.stage3(self.stage2(third)), indices2, second))
        logits: Tensor = self.classify(self.stage5(self.up5(maps, indices1, first)))
        return logits[..., :height, :width]


def _conv(in_channels: int, out_channels: int, kernel_size: int, *, is_decoder: bool) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_channels), _activation(out_channels, is_decoder=is_decoder)]


def _middle(channels: int, kind: str | int, *, is_decoder: bool) -> list[nn.Module]:
    """The convolution in the middle: 3x3, dilated 3x3, or 5x1 and 1x5 one after the other (section 4)."""
    if kind == "asymmetric":
        convs: list[nn.Module] = [
            nn.Conv2d(channels, channels, (5, 1), padding=(2, 0), bias=False),
            nn.Conv2d(channels, channels, (1, 5), padding=(0, 2), bias=False),
        ]
    else:
        dilation = kind if isinstance(kind, int) else 1
        convs = [nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)]
    return [*convs, nn.BatchNorm2d(channels), _activation(channels, is_decoder=is_decoder)]


def _activation(channels: int, *, is_decoder: bool) -> nn.Module:
    return nn.ReLU() if is_decoder else nn.PReLU(channels)


ENTRIES = (
    Entry(
        name="enet",
        family="enet",
        year=2016,
        title="ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation",
        paper="arXiv:1606.02147",
        build=Enet,
        config=EnetConfig(),
        input_size=(3, 512, 512),
        num_params=361_434,
        macs=2_060_648_448,
        stem="first",
        head="classify",
        min_size=(16, 16),
        kind=KIND,
    ),
)
