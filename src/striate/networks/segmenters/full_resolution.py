"""Convolutions at the image's own resolution, one after the other, and nothing ever made smaller: what a segmenter
would be if memory and time were no matter. N images, C channels, H x W pixels, K classes.

Layer i is dilated by 2 ** i, so that seven layers see 255 pixels and not 15 (as in Yu & Koltun 2015, arXiv:1511.07122,
section 3, whose context module it is with widths and depth of our own); with `is_dilated` off it is the plain chain of
the lectures, to compare.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry
from striate.networks.segmenters.unet import KIND


@dataclass(frozen=True)
class FullResolutionConfig:
    """Channels in, classes out, maps of every layer, layers, and whether they are dilated."""

    in_channels: int = 3
    num_classes: int = 21
    width: int = 24
    depth: int = 7
    is_dilated: bool = True

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if not (1 <= self.width <= 512 and 1 <= self.depth <= 10):
            raise InputError(f"width must be 1 to 512 and depth 1 to 10 but they are {self.width} and {self.depth}")


class FullResolution(nn.Module):
    """Images (N, C, H, W) -> logits (N, K, H, W)."""

    def __init__(self, config: FullResolutionConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        channels = config.in_channels
        for number in range(config.depth):
            dilation = 2**number if config.is_dilated else 1
            conv = nn.Conv2d(channels, config.width, 3, padding=dilation, dilation=dilation, bias=False)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layers += [conv, nn.BatchNorm2d(config.width), nn.ReLU(inplace=True)]
            channels = config.width
        self.layers = nn.Sequential(*layers)
        self.classify = nn.Conv2d(config.width, config.num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Layer after layer, every place of the image kept."""
        check_images(images, self.config.in_channels, (1, 1), network="full_resolution")
        logits: Tensor = self.classify(self.layers(images))
        return logits


ENTRIES = (
    Entry(
        name="full_resolution",
        family="full_resolution",
        year=2015,
        title="Multi-Scale Context Aggregation by Dilated Convolutions",
        paper="arXiv:1511.07122",
        build=FullResolution,
        config=FullResolutionConfig(),
        input_size=(3, 256, 256),
        num_params=32_613,
        macs=2_113_929_216,
        stem="layers.0",
        head="classify",
        min_size=(1, 1),
        kind=KIND,
    ),
)
