"""SegNet and SegNet-Basic: up by max unpooling, every value put where its maximum was (Badrinarayanan, Kendall &
Cipolla 2015, arXiv:1511.00561). N images, C channels, H x W pixels, K classes.

SegNet is VGG-16's thirteen convolutions and their mirror image, all with batch norm (figure 2). SegNet-Basic has four
and four of 7x7, 64 maps each, no rectifiers in its decoder, and biases nowhere (section 3.1). Departures: odd sizes are
rounded up in pooling, so that no row is lost; in training the paper normalises contrast beforehand, which is left to
preprocessing.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.networks.checking import check_counts, check_images
from striate.networks.entry import Entry
from striate.networks.segmenters.unet import KIND

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
BASIC = ((64,), (64,), (64,), (64,))


@dataclass(frozen=True)
class SegNetConfig:
    """Channels in, classes out, maps of every convolution by stage, their side, and whether the decoder has
    rectifiers.
    """

    in_channels: int = 3
    num_classes: int = 11
    stages: tuple[tuple[int, ...], ...] = VGG16
    kernel_size: int = 3
    has_decoder_rectifiers: bool = True

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        sizes = [width for stage in self.stages for width in stage]
        if not 1 <= len(self.stages) <= 7 or not all(self.stages) or not all(1 <= width <= 2048 for width in sizes):
            raise InputError(f"stages must be 1 to 7, each of one or more widths up to 2048, but are {self.stages}")
        if self.kernel_size not in (1, 3, 5, 7):
            raise InputError(f"kernel_size must be 1, 3, 5 or 7 but is {self.kernel_size}")


class SegNet(nn.Module):
    """Images (N, C, H, W) -> logits (N, K, H, W)."""

    def __init__(self, config: SegNetConfig) -> None:
        super().__init__()
        self.config = config
        ins = (config.in_channels, *(stage[-1] for stage in config.stages))
        self.down = nn.ModuleList(
            self._stage(before, stage, has_rectifier=True) for before, stage in zip(ins, config.stages, strict=False)
        )
        mirrored = [
            (*reversed(stage[:-1]), before)
            for before, stage in zip((config.stages[0][0], *ins[1:]), config.stages, strict=False)
        ]
        self.up = nn.ModuleList(
            self._stage(stage[-1], widths, has_rectifier=config.has_decoder_rectifiers)
            for stage, widths in zip(reversed(config.stages), reversed(mirrored), strict=True)
        )
        self.classify = nn.Conv2d(config.stages[0][0], config.num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def _stage(self, in_channels: int, widths: tuple[int, ...], *, has_rectifier: bool) -> nn.Sequential:
        size = self.config.kernel_size
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Conv2d(in_channels, width, size, padding=size // 2, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.ReLU(inplace=True)] if has_rectifier else []
            in_channels = width
        return nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Down, remembering where the maxima were, and up to there."""
        check_images(images, self.config.in_channels, (2 ** len(self.config.stages),) * 2, network="this SegNet")
        maps, places = images, []
        for stage in self.down:
            before = stage(maps)
            maps, indices = F.max_pool2d(before, 2, ceil_mode=True, return_indices=True)
            places.append((indices, before.shape[2], before.shape[3]))
        for stage in self.up:
            maps = stage(unpooled(maps, *places.pop()))
        logits: Tensor = self.classify(maps)
        return logits


def unpooled(maps: Tensor, indices: Tensor, height: int, width: int) -> Tensor:
    """Every value where its maximum was, 0 elsewhere: (N, C, h, w) -> (N, C, height, width); windows do not overlap."""
    flat = maps.new_zeros(maps.shape[0], maps.shape[1], height * width)
    return flat.scatter(2, indices.flatten(2), maps.flatten(2)).unflatten(2, (height, width))


_COMMON: dict[str, Any] = {
    "family": "segnet", "year": 2015, "title": "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image "
        "Segmentation",
    "paper": "arXiv:1511.00561", "build": SegNet, "stem": "down.0.0", "head": "classify", "kind": KIND,
    "input_size": (3, 360, 480),
}  # fmt: skip

ENTRIES = (
    Entry(
        name="segnet", config=SegNetConfig(), num_params=29_472_779, macs=112_109_322_240, min_size=(32, 32), **_COMMON
    ),
    Entry(
        name="segnet_basic",
        config=SegNetConfig(stages=BASIC, kernel_size=7, has_decoder_rectifiers=False),
        num_params=1_416_075,
        macs=59_188_838_400,
        min_size=(16, 16),
        **_COMMON,
    ),
)
