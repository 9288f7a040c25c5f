"""One object and its box from a network's feature maps: every place gives logits and a box, and a learnt weight says
how much it counts.

N images, C channels, K + 4 outputs: K logits of classes and a box, (x1, y1, x2, y2) as fractions of the image. P
places.

A pooled feature no longer says where it was seen, so a linear layer behind global average pooling learns places from
padding alone. Here each place of the map predicts the box relative to itself, as in FCOS (arXiv:1904.01355, eq. 1), and
the predictions are averaged by a softmax over places, the soft-argmax of arXiv:1710.02322, eq. 1-2. Shifted by whole
strides, an image gives the shifted box, borders aside.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from striate.errors import InputError
from striate.networks.checking import check_counts
from striate.networks.detectors.fcos import place_grid
from striate.networks.entry import Entry
from striate.networks.entry_on import entry_on
from striate.networks.pyramid import backbone_of, maps_of

STRIDES = (16, 32)
NUM_SIDES = 4


@dataclass(frozen=True)
class LocatorConfig:
    """Channels in; outputs, the four of the box included; maps and 3x3 convolutions behind the base."""

    in_channels: int = 3
    num_classes: int = 1000 + NUM_SIDES
    width: int = 128
    depth: int = 2

    def __post_init__(self) -> None:
        check_counts(self.in_channels, self.num_classes)
        if self.num_classes < NUM_SIDES:
            raise InputError(
                f"a locator needs at least {NUM_SIDES} outputs, those of its box, but has {self.num_classes}"
            )
        if self.width < 8 or self.width % 8 or not 1 <= self.depth <= 8:
            raise InputError(
                f"width must be a multiple of 8 and depth 1 to 8 but they are {self.width} and {self.depth}"
            )


class Locator(nn.Module):
    """Images (N, C, H, W) -> logits and box (N, K + 4)."""

    def __init__(self, base: Entry, config: LocatorConfig) -> None:
        super().__init__()
        self.config = config
        self.base, self.taps = backbone_of(base, config.in_channels, STRIDES)
        self.lateral = nn.ModuleList(_normed(tap.channels, config.width, 1) for tap in self.taps)
        self.tower = nn.Sequential(*(_normed(config.width, config.width, 3) for _ in range(config.depth)))
        self.weigh = nn.Conv2d(config.width, 1, 1)
        self.head = nn.Conv2d(config.width, config.num_classes, 1)
        nn.init.normal_(self.weigh.weight, std=0.01)
        nn.init.normal_(self.head.weight, std=0.01)
        for layer in (self.weigh, self.head):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """What the places say, averaged by their weights."""
        maps = self.tower(self.maps(images))
        rows, columns = maps.shape[2:]
        weights = self.weigh(maps).flatten(1).float().softmax(dim=1)  # (N, P)
        said = self.head(maps).flatten(2).float()  # (N, K + 4, P)
        stride = self.taps[0].stride
        places = place_grid(rows, columns, stride, images.shape[2], images.shape[3], maps.device)[:, :2].T  # (2, P)
        offsets = torch.cat([torch.zeros_like(said[0, :-NUM_SIDES]), places - 0.5, places - 0.5])
        return ((said + offsets) * weights[:, None]).sum(dim=2)

    def maps(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> maps (N, width, h, w) of the finest stride, what the coarser one knows added."""
        found = [layer(maps) for layer, maps in zip(self.lateral, maps_of(self.base, images, self.taps), strict=True)]
        finest = found[0]
        for coarser in found[1:]:
            finest = finest + F.interpolate(coarser, size=finest.shape[2:], mode="nearest")
        return finest


def _normed(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """A convolution, group norm and rectifier."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.GroupNorm(8, out_channels), nn.ReLU())


def locator_on(base: Entry) -> Entry:
    """The entry of a locator on a network of the catalogue."""
    return entry_on(
        base, "locator", partial(Locator, base), LocatorConfig(), kind="locator", head="head", year=2017, title=TITLE,
        paper="arXiv:1710.02322",
    )  # fmt: skip


TITLE = "Human pose regression by combining indirect part detection and contextual information (its soft-argmax)"
