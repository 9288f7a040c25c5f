"""U-Net: down by pooling, up again by transposed convolution, with what each level knew laid beside it (Ronneberger,
Fischer & Brox 2015, arXiv:1505.04597), as published and on the features of any network of the catalogue. N images, C
channels, H x W pixels, K classes.

Departures. All: convolutions are padded, so that every pixel of the image has a logit, and sizes that do not halve
evenly are met by cutting the odd row. Plain: batch norm behind each convolution, off for `unet` as the paper prints it;
`unet_small` has a quarter of the widths, which a processor trains in minutes. On a base: levels are the base's own maps
at strides 2 to 32, brought to `width` maps times the stride (at most `most`) by 1x1 convolutions; upsampling is
bilinear, one 3x3 convolution a level follows, and the logits of stride 2 are enlarged. Convolutions of the base without
padding get it, since maps of different strides must lie over one another.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry
from striate.networks.entry_on import entry_on
from striate.networks.pyramid import backbone_of, maps_of

STRIDES = (2, 4, 8, 16, 32)
TITLE = "U-Net: Convolutional Networks for Biomedical Image Segmentation"
PAPER = "arXiv:1505.04597"
KIND = "segmenter"


@dataclass(frozen=True)
class UnetConfig:
    """Channels in, classes out, maps of the first level (doubled at each of `depth` halvings), and whether layers are
    normalised.
    """

    in_channels: int = 1
    num_classes: int = 2
    width: int = 64
    depth: int = 4
    use_norm: bool = False

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if not (1 <= self.width <= 512 and 1 <= self.depth <= 7):
            raise InputError(f"width must be 1 to 512 and depth 1 to 7 but they are {self.width} and {self.depth}")


class Unet(nn.Module):
    """Figure 1: images (N, C, H, W) -> logits (N, K, H, W)."""

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        pair = partial(conv_pair, use_norm=config.use_norm)
        self.down = nn.ModuleList(map(pair, (config.in_channels, *widths[:-1]), widths))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.up = nn.ModuleList(pair(2 * w, w) for w in reversed(widths[:-1]))
        self.classify = nn.Conv2d(config.width, config.num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module is not self.classify:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")  # section 3
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Down, remembering each level, and up beside it."""
        check_images(images, self.config.in_channels, (2**self.config.depth,) * 2, network="unet")
        levels = [self.down[0](images)]
        for layer in self.down[1:]:
            levels.append(layer(self.pool(levels[-1])))
        maps = levels.pop()
        for enlarge, layer in zip(self.enlarge, self.up, strict=True):
            beside = levels.pop()
            maps = enlarge(maps)[..., : beside.shape[2], : beside.shape[3]]
            maps = layer(torch.cat([beside, maps], dim=1))
        logits: Tensor = self.classify(maps)
        return logits


def conv_pair(in_channels: int, out_channels: int, *, use_norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions with rectifiers, each normalised if asked for: (N, in_channels, H, W) -> (N, out_channels,
    H, W).
    """
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers.append(nn.Conv2d(channels, out_channels, 3, padding=1, bias=not use_norm))
        layers += [nn.BatchNorm2d(out_channels)] if use_norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class UnetOnConfig:
    """Channels in, classes out; a level of stride s has min(most, width * s / 2) maps."""

    in_channels: int = 3
    num_classes: int = 21
    width: int = 32
    most: int = 128

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if not (1 <= self.width <= 512 and self.width <= self.most <= 1024):
            raise InputError(f"width must be 1 to 512 and most up to 1024 but they are {self.width} and {self.most}")


class UnetOn(nn.Module):
    """A decoder on a base's maps: images (N, C, H, W) -> logits (N, K, H, W)."""

    def __init__(self, base: Entry, config: UnetOnConfig) -> None:
        super().__init__()
        self.config = config
        self.base, self.taps = backbone_of(base, config.in_channels, STRIDES)
        pad_all(self.base)
        widths = [min(config.most, config.width * tap.stride // 2) for tap in self.taps]
        self.lateral = nn.ModuleList(conv_norm(tap.channels, w, 1) for tap, w in zip(self.taps, widths, strict=True))
        self.up = nn.ModuleList(conv_norm(fine + coarse, fine, 3) for fine, coarse in pairwise(widths))
        self.refine = conv_norm(widths[0], widths[0], 3)
        self.classify = nn.Conv2d(widths[0], config.num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """The coarsest map first, each enlarged to the next finer one and laid beside it."""
        found = [layer(maps) for layer, maps in zip(self.lateral, maps_of(self.base, images, self.taps), strict=True)]
        maps = found.pop()
        for layer in reversed(self.up):
            finer = found.pop()
            maps = layer(torch.cat([finer, enlarged(maps, finer)], dim=1))
        return enlarged(self.classify(self.refine(maps)), images)


def conv_norm(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """A padded convolution, batch norm and rectifier."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def enlarged(maps: Tensor, like: Tensor) -> Tensor:
    """Maps (N, C, h, w) bilinearly resized to the height and width of `like`."""
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)


def pad_all(network: nn.Module) -> None:
    """Pad every convolution that loses its borders, in place, so that its maps lie over its input."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not isinstance(module.padding, str) and not any(module.padding):
            reach = [d * (k - 1) // 2 for d, k in zip(module.dilation, module.kernel_size, strict=True)]
            if any(reach):
                module.padding = (reach[0], reach[1])
                module._reversed_padding_repeated_twice = [reach[1], reach[1], reach[0], reach[0]]


def unet_on(base: Entry) -> Entry:
    """The entry of a U-Net on a network of the catalogue."""
    return entry_on(base, "unet", partial(UnetOn, base), UnetOnConfig(), kind=KIND, year=2015, title=TITLE, paper=PAPER)


_PLAIN: dict[str, Any] = {
    "family": "unet",
    "year": 2015,
    "title": TITLE,
    "paper": PAPER,
    "build": Unet,
    "stem": "down.0.0",
    "head": "classify",
    "kind": KIND,
}

ENTRIES = (
    Entry(
        name="unet",
        config=UnetConfig(),
        input_size=(1, 512, 512),
        num_params=31_030_658,
        macs=192_384_335_872,
        min_size=(16, 16),
        has_norm=False,
        **_PLAIN,
    ),
    Entry(
        name="unet_small",
        config=UnetConfig(in_channels=3, num_classes=21, width=16, use_norm=True),
        input_size=(3, 256, 256),
        num_params=1_942_917,
        macs=3_053_453_312,
        min_size=(16, 16),
        **_PLAIN,
    ),
)
